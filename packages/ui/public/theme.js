// Before the first paint, so that a dark page does not flash white. A file of its own: the page allows no inline script.
;(function () {
  var chosen = null
  try {
    chosen = localStorage.getItem("hyper-theme")
  } catch {
    // storage may be forbidden; the system's choice then stands
  }
  var dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches)
  document.documentElement.dataset.theme = dark ? "dark" : "light"
})()
