"""Unit tests of hyper_trainer that need no ranks; run by units.live.test.ts (`python units.py`, standard library's unittest)."""
import copy
import json
import os
import pathlib
import socket
import sys
import tempfile
import threading
import unittest

from hyper_trainer import config, durable, lease, recipe, rows, telemetry, tokens
from hyper_trainer.errors import TrainerError

BASE = json.loads(os.environ["HYPER_TEST_CONFIG"])
MODEL = BASE["model"]


def with_(**changes):
    given = copy.deepcopy(BASE)
    given.update(changes)
    return {key: value for key, value in given.items() if value != "ABSENT"}


class ConfigTest(unittest.TestCase):
    def refuses(self, given, *parts):
        with self.assertRaises(TrainerError) as caught:
            config.parse(given)
        for part in parts:
            self.assertIn(part, str(caught.exception))

    def test_good(self):
        self.assertEqual(config.parse(with_()).worldSize, 2)

    def test_unknown_key_with_near_match(self):
        self.refuses(with_(learningrate=1), 'unknown option "learningrate"', 'did you mean "learningRate"?')
        self.refuses(with_(zzz=1), 'unknown option "zzz"', "known are")
        self.refuses(with_(method="lora", lora={"rank": 4, "alpha": 8, "dropout": 0, "targets": "all-linear", "ranc": 1}), "lora", '"ranc"', '"rank"')

    def test_wrong_values_are_named(self):
        self.refuses(with_(learningRate="fast"), '"learningRate"', '"fast"')
        self.refuses(with_(learningRate=float("nan")), '"learningRate"')
        self.refuses(with_(batchSize=1.5), '"batchSize"', "whole number")
        self.refuses(with_(batchSize=True), '"batchSize"')
        self.refuses(with_(evalFraction=0.6), '"evalFraction"', "0.5")
        self.refuses(with_(epochs=0), '"epochs"')
        self.refuses(with_(schedule="step"), '"schedule"', "cosine")
        self.refuses(with_(seed="ABSENT"), '"seed" is missing')
        self.refuses(with_(method="lora"), '"lora"')
        self.refuses(with_(slots=[]), '"slots"', "0 to 1")
        self.refuses(with_(version=2), '"version"')

    def test_a_segment_in_two_slots(self):
        segment = {"index": 0, "path": "x", "rows": 1}
        self.refuses(with_(slots=[{"slot": 0, "segments": [segment]}, {"slot": 1, "segments": [segment]}]), "slots[1]", "segment 0")


class RowsTest(unittest.TestCase):
    def refuses(self, form, text, message):
        with self.assertRaises(TrainerError) as caught:
            list(rows.rows_of(text, form, 3))
        self.assertEqual(str(caught.exception), message)
        # nothing of the row in the exception or in what it hangs on
        self.assertNotIn("canary", repr(caught.exception.__cause__) + repr(caught.exception.__context__))

    def test_messages(self):
        good = b'{"prompt":"a","completion":"b"}\n\n{"messages":[{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}\n'
        self.assertEqual([place for place, _ in rows.rows_of(good, "chat", 3)], ["segment 3 row 1", "segment 3 row 3"])
        self.refuses("chat", b'{"text":"canary"}', 'segment 3 row 1: no "messages" and no "prompt"/"completion"')
        self.refuses("chat", b'{"text":"canary', "segment 3 row 1: not a JSON object")
        self.refuses("chat", b'\xff\xfe{"canary"', "segment 3 row 1: not a JSON object")
        self.refuses("chat", b'["canary"]', "segment 3 row 1: not a JSON object")
        self.refuses("chat", b'{"messages":[{"role":"user","content":"canary"}]}', 'segment 3 row 1: no message of role "assistant" that answers another one')
        self.refuses("chat", b'{"messages":[{"role":"user","content":7}]}', 'segment 3 row 1: message 1 needs "role" and "content", both text')
        self.refuses("text", b'{"text":""}', 'segment 3 row 1: no "text", or an empty one')


class EncodeTest(unittest.TestCase):
    def setUp(self):
        from hyper_trainer.model import load_tokenizer

        self.tokenizer = load_tokenizer(MODEL, "chat")

    def test_loss_is_on_the_answers_only(self):
        from hyper_trainer.encode import IGNORED, encode_chat

        talk = [{"role": role, "content": text} for role, text in (("assistant", "Opening"), ("user", "Hello"), ("assistant", "First answer"), ("user", "More"), ("assistant", "Second"))]
        example = encode_chat(self.tokenizer, talk, 100)
        learnt = self.tokenizer.decode([int(i) for i, label in zip(example.ids, example.labels) if label != IGNORED])
        self.assertEqual(learnt, "First answer<|end|>Second<|end|>")
        self.assertIsNone(encode_chat(self.tokenizer, talk, 4))

    def test_long_text_is_cut_into_windows_without_loss(self):
        from hyper_trainer.encode import encode_text

        text = "The people of the United States. " * 40
        windows = encode_text(self.tokenizer, text, 50)
        joined = [int(i) for window in windows for i in window.ids]
        self.assertGreater(len(windows), 2)
        self.assertEqual(self.tokenizer.decode(joined, skip_special_tokens=True), text)

    def test_a_tokenizer_that_quotes_the_row(self):
        from hyper_trainer.encode import encode

        class Quoting:
            def apply_chat_template(self, messages, **_):
                raise ValueError(f"bad: {messages}")

        with self.assertRaises(TrainerError) as caught:
            encode(Quoting(), [{"role": "assistant", "content": "canary"}], "chat", 10, 10, "segment 0 row 1")
        told = str(caught.exception) + repr(caught.exception.__cause__) + repr(caught.exception.__context__)
        self.assertIn("segment 0 row 1", told)
        self.assertNotIn("canary", told)

    def test_a_token_that_the_model_lacks(self):
        from hyper_trainer.encode import encode

        with self.assertRaisesRegex(TrainerError, "does not have"):
            encode(self.tokenizer, [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "whale"}], "chat", 50, 100, "segment 0 row 1")


class OrderTest(unittest.TestCase):
    def test_every_example_each_epoch_and_no_state(self):
        from hyper_trainer.data import Order

        order = Order(1, 0, 7, 5, 2)  # 10 places for 7 examples
        epoch = [i for step in range(5) for i in order.at(step)]
        self.assertEqual(set(epoch), set(range(7)))
        self.assertEqual(epoch[7:], epoch[:3])
        self.assertNotEqual(epoch, [i for step in range(5, 10) for i in order.at(step)])
        self.assertEqual(Order(1, 0, 7, 5, 2).at(8), order.at(8))
        self.assertNotEqual([Order(1, 1, 7, 5, 2).at(s) for s in range(5)], [order.at(s) for s in range(5)])
        self.assertEqual(Order(1, 0, 0, 5, 2).at(3), [])


class ScheduleTest(unittest.TestCase):
    def test_warm_up_and_end(self):
        for schedule, last in (("constant", 0.001), ("linear", 0.001 / 8), ("cosine", None)):
            made = config.parse(with_(warmupSteps=2, schedule=schedule, learningRate=0.001))
            self.assertAlmostEqual(recipe.learning_rate(made, 0, 10), 0.0005)
            self.assertAlmostEqual(recipe.learning_rate(made, 2, 10), 0.001)
            if last:
                self.assertAlmostEqual(recipe.learning_rate(made, 9, 10), last)

    def test_the_recipe_is_what_changes_the_weights(self):
        digest = recipe.recipe_digest(config.parse(with_()))
        self.assertEqual(digest, recipe.recipe_digest(config.parse(with_(resultDirectory="elsewhere", keepCheckpoints=9))))
        self.assertNotEqual(digest, recipe.recipe_digest(config.parse(with_(seed=6))))


class DurableTest(unittest.TestCase):
    def test_all_or_nothing(self):
        with tempfile.TemporaryDirectory() as name:
            parent = pathlib.Path(name)
            folder = durable.begin(parent, "a")
            (folder / "x").write_text("1")
            self.assertFalse((parent / "a").exists())
            durable.commit(folder, "a")
            self.assertEqual((parent / "a" / "x").read_text(), "1")
            durable.begin(parent, "b")
            durable.sweep(parent)
            self.assertEqual([path.name for path in parent.iterdir()], ["a"])


class TokensTest(unittest.TestCase):
    def test_both_ways(self):
        for by_socket in (False, True):
            holder = tokens.TokenHolder(["one", "two"], force_socket=by_socket)
            self.assertNotIn("one", holder.address)
            os.environ["HYPER_TOKENS"] = holder.address
            self.assertEqual([tokens.token_of(1), tokens.token_of(0)], ["two", "one"])
            with self.assertRaisesRegex(TrainerError, "slot 2"):
                tokens.token_of(2)
            holder.close()

    def test_standard_input(self):
        self.assertEqual(tokens.read_tokens('{"tokens":["a"]}', 1), ["a"])
        for text, part in (("", "one JSON document"), ('{"tokens":[""]}', "one JSON document"), ('{"tokens":["a"]}', "worldSize is 2")):
            with self.assertRaisesRegex(TrainerError, part):
                tokens.read_tokens(text, 2)


class LeaseTest(unittest.TestCase):
    """The daemon may be away for a while, hang up, or say no."""

    def serve(self, path, answers):
        def run():
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            server.bind(path)
            server.listen(4)
            for answer in answers:
                connection, _ = server.accept()
                connection.recv(65536)
                connection.sendall(answer)
                connection.close()
            server.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def test_retry_then_answer(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")
            # hangs up twice, the second time within a line
            timer = threading.Timer(0.3, self.serve, (path, [b"", b'{"v":1', b'{"v":1,"segments":[{"index":4,"header":"YQ==","payloadOffset":9}]}\n']))
            timer.start()
            self.assertEqual(lease.request_headers(path, "t", 0, "age1x", patience=30), {4: (b"a", 9)})

    def test_error_and_nonsense(self):
        for answer, part in ((b'{"v":1,"error":"expired"}\n', "refused: expired"), (b"[]\n", "version 1"), (b'{"v":1,"segments":[{}]}\n', "not understood")):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "s")
                self.serve(path, [answer])
                with self.assertRaisesRegex(TrainerError, part):
                    lease.request_headers(path, "t", 0, "age1x", patience=30)

    def test_nobody_ever_answers(self):
        with self.assertRaisesRegex(TrainerError, "is the hyper daemon running"):
            lease.request_headers("/nonexistent/s", "t", 0, "age1x", patience=0.2)


class TelemetryTest(unittest.TestCase):
    def test_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HYPER_TELEMETRY"] = os.path.join(folder, "t.jsonl")
            telemetry.emit(1, "step", 3, loss=float("nan"), tokens=4, text=None)
            meter = telemetry.Meter(0)
            meter.add(10, 0.25)
            meter.flush(1)
            meter.flush(1, force=True)
            meter.flush(1, force=True)
            lines = [json.loads(line) for line in pathlib.Path(os.environ.pop("HYPER_TELEMETRY")).read_text().splitlines()]
        self.assertEqual([line["kind"] for line in lines], ["step", "work"])
        self.assertEqual(set(lines[0]), {"at", "rank", "kind", "step", "tokens"})
        self.assertEqual((lines[1]["tokens"], lines[1]["workMilliseconds"]), (10, 250))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
