"""The command line on a terminal: the interactive mode, tables, colour and questions."""

import os

import harness
from harness import SystemTest, wait_for
from terminal import PROMPT, Terminal, plain


class ShellTest(SystemTest):
    def setUp(self):
        super().setUp()
        self.db = self.fleet(shards=2)
        self.home = self.make_dir()
        self.env = {"PATH": os.environ["PATH"], "HOME": self.home, "TERM": "xterm",
                    "SHARDCASK_URL": self.db.url}
        self.env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})

    def terminal(self, *args, **env):
        argv = [harness.program("shardcask"), *args]
        return self.closing(Terminal(argv, {**self.env, **env}))

    def shell(self, *args, **env):
        shell = self.terminal(*args, **env)
        shell.expect(PROMPT)
        return shell

    def test_commands_line_by_line(self):
        shell = self.shell()
        shell.command(b"put greeting '{\"hello\": \"my world\"}'")
        self.assertIn('{"hello":"my world"}', shell.command(b"get greeting"))
        self.assertIn("1", shell.command(b"incr n # a comment"))
        self.assertIn("2", shell.command(b"incr n"))
        self.assertEqual(self.db.client().ok("get", "n"), 2)
        self.assertIn("incr KEY", shell.command(b"help"))
        shell.type(b"exit\n")
        self.assertEqual(shell.wait(), 0)

    def test_an_error_does_not_end_it(self):
        shell = self.shell()
        self.assertIn("no key", shell.command(b"get nope"))
        self.assertIn("no command", shell.command(b"nonsense"))
        self.assertIn("not closed", shell.command(b"get 'x"))
        self.assertIn("usage", shell.command(b"get"))
        self.assertIn("0", shell.command(b"count"))
        shell.type(b"\x04")
        self.assertEqual(shell.wait(), 0)

    def test_it_lives_through_a_restart_of_the_store(self):
        shell = self.shell()
        shell.command(b"put k 1")
        self.db.coordinator.kill()
        self.assertIn("store at", shell.command(b"get k --timeout 0.3"))
        self.db.coordinator.start()
        self.db.wait_up()
        wait_for(lambda: "1" in plain(shell.command(b"get k")).splitlines(), "the store to be back")

    def test_options_of_a_command_do_not_stay(self):
        shell = self.shell()
        shell.command(b"put k '\"text\"'")
        self.assertIn("text\n", plain(shell.command(b"get k --raw")))
        self.assertIn('"text"\n', plain(shell.command(b"get k")))

    def test_completion(self):
        shell = self.shell()
        shell.type(b"cou\t")
        shell.expect(b"nt ")
        shell.type(b"\n")
        shell.expect(PROMPT)
        shell.type(b"ex\t")
        shown = shell.expect(PROMPT)
        self.assertIn("exists", shown)
        self.assertIn("export", shown)
        shell.type(b"\x15shard r\t")
        shell.expect(b"emove ")

    def test_the_history_outlives_the_session(self):
        for state, path in ((None, ".local/state/shardcask/history"), ("state", "state/shardcask/history")):
            env = {"XDG_STATE_HOME": os.path.join(self.home, state)} if state else {}
            shell = self.shell(**env)
            shell.command(b"put k 41")
            shell.type(b"exit\n")
            self.assertEqual(shell.wait(), 0)
            self.assertTrue(os.path.exists(os.path.join(self.home, path)))
            shell = self.shell(**env)
            shell.type(b"\x10")
            shell.expect(b"put k 41")
            shell.type(b"\n")
            shell.expect(PROMPT)

    def test_ctrl_c_gives_up_the_line(self):
        shell = self.shell()
        shell.type(b"put k half")
        shell.expect(b"half")
        shell.type(b"\x03")
        shell.expect(PROMPT)
        self.assertIn("0", shell.command(b"count"))

    def test_options_of_the_session(self):
        shell = self.shell("--url", self.db.ipc, SHARDCASK_URL="ipc:///nonexistent")
        self.assertIn("0", shell.command(b"count"))

    def test_tables_on_a_terminal_and_json_when_asked(self):
        for args, wanted in ((("shards",), "SHARD  STATE"), (("map",), "epoch 1"),
                             (("stats",), "keydir_bytes"), (("shards", "--json"), '[{"id":1')):
            terminal = self.terminal(*args)
            shown = terminal.expect(wanted.split()[0].encode())
            self.assertEqual(terminal.wait(), 0)
            shown = plain(shown + terminal.output.decode())
            self.assertIn(wanted, shown)
        terminal = self.terminal("shards")
        self.assertEqual(terminal.wait(), 0)
        self.assertIn(b"\x1b[32mup", terminal.output)
        terminal = self.terminal("shards", NO_COLOR="1")
        self.assertEqual(terminal.wait(), 0)
        self.assertNotIn(b"\x1b[", terminal.output)
        self.assertIn(b"up", terminal.output)

    def test_clear_asks(self):
        self.db.client().ok("put", "k", 1)
        for answer, code, left in ((b"no\n", 2, 1), (b"\x04", 2, 1), (b"yes\n", 0, 0)):
            terminal = self.terminal("clear")
            terminal.expect(b"Type yes")
            terminal.type(answer)
            self.assertEqual(terminal.wait(), code)
            self.assertEqual(self.db.client().ok("count"), left)

    def test_a_progress_bar_is_shown_and_goes_away(self):
        path = os.path.join(self.home, "records.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            for n in range(200000):
                out.write('{"key":"k%d","value":%d}\n' % (n, n))
        terminal = self.terminal("import", path)
        terminal.expect(b"records  ")
        self.assertEqual(terminal.wait(), 0)
        self.assertIn('"imported":200000', plain(terminal.output.decode()))


if __name__ == "__main__":
    harness.main()
