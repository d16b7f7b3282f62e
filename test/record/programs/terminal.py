"""Runs a program in a terminal of its own and talks to it.

argv[1] is JSON: {"argv": [...], "steps": [...], "seconds": 20}. Steps, in order:
  {"expect": REGEX}   reads until the output since the last match matches
  {"send": TEXT}      types
  {"resize": [rows, columns]}
  {"modes": true}     waits for nothing, notes whether the terminal echoes and is in line mode
Prints JSON: {"output": TEXT, "code": N, "signal": N, "modes": [...], "failed": REGEX or null}.
The program is a session leader with the terminal as its controlling terminal.
"""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

spec = json.loads(sys.argv[1])
deadline = time.monotonic() + spec.get("seconds", 20)
pid, master = pty.fork()
if pid == 0:
    os.execvp(spec["argv"][0], spec["argv"])

output = b""
seen = 0
modes = []
failed = None


def read_some():
    """Reads what is there, waiting for it. False at the end of the output or of the time."""
    global output
    left = deadline - time.monotonic()
    if left <= 0 or not select.select([master], [], [], left)[0]:
        return False
    try:
        data = os.read(master, 65536)
    except OSError:
        return False
    output += data
    return bool(data)


for step in spec["steps"]:
    if "expect" in step:
        pattern = re.compile(step["expect"].encode(), re.S)
        while not (match := pattern.search(output, seen)):
            if not read_some():
                failed = step["expect"]
                break
        if failed:
            break
        seen = match.end()
    elif "send" in step:
        os.write(master, step["send"].encode())
    elif "resize" in step:
        rows, columns = step["resize"]
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    elif "modes" in step:
        flags = termios.tcgetattr(master)[3]
        modes.append([bool(flags & termios.ECHO), bool(flags & termios.ICANON)])

if failed:
    os.kill(pid, signal.SIGKILL)
else:
    while read_some():
        pass
    if time.monotonic() >= deadline:
        failed = "the end"
        os.kill(pid, signal.SIGKILL)
status = os.waitpid(pid, 0)[1]
print(json.dumps({
    "output": output.decode("utf8", "replace"),
    "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
    "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
    "modes": modes,
    "failed": failed,
}))
