// The real Ollama, built from its Go module for the CPU: what the live tests drive. Version and digests stand in go.mod and go.sum.
package main

import (
	"context"
	"os"

	"github.com/ollama/ollama/cmd"
)

func main() {
	if err := cmd.NewCLI().ExecuteContext(context.Background()); err != nil {
		os.Exit(1)
	}
}
