# Runs inside gdb: the frames at each call, as JSON lines into the file $STACKS_OUT. With STACKS_CHILD=NAME, those of
# the child that calls this function, from there on.
import json
import os
import shlex

import gdb

out = open(os.environ["STACKS_OUT"], "w")
child = os.environ.get("STACKS_CHILD")
for setting in ("pagination off", "backtrace past-main on", "backtrace past-entry on", "confirm off", "backtrace limit 1024",
                "disable-randomization on", "debuginfod enabled off", "print thread-events off", "auto-load off",
                "follow-fork-mode " + ("child" if child else "parent")):
    try:
        gdb.execute("set " + setting)
    except gdb.error:
        pass
for name in ("LINES", "COLUMNS", "STACKS_OUT", "STACKS_CHILD", "STACKS_ARGS"):
    gdb.execute("unset environment " + name)
gdb.execute("handle all nostop noprint pass")
gdb.execute("set args " + shlex.join(json.loads(os.environ["STACKS_ARGS"])) + " > /dev/null 2>&1")
gdb.execute("tbreak " + child if child else "catch syscall")
gdb.execute("run", to_string=True)
if child:
    gdb.execute("catch syscall")


def frames():
    found = []
    frame = gdb.newest_frame()
    while frame is not None and len(found) < 1024:
        found.append(described(frame))
        try:
            frame = frame.older()
        except gdb.error:
            break
    return found


KINDS = {gdb.INLINE_FRAME: "inlined", gdb.SIGTRAMP_FRAME: "trampoline", gdb.TAILCALL_FRAME: "tail"}


def name(frame):
    """A symbol of data in front of the address is no function."""
    found = frame.name()
    if found is not None and frame.function() is None:
        place = gdb.execute("info symbol %d" % frame.pc(), to_string=True)
        if " in section .text" not in place and " in section .plt" not in place:
            return found if " in section" not in place else None
    return found


def described(frame):
    sal = frame.find_sal()
    return {
        "function": name(frame),
        "file": sal.symtab.fullname() if sal.symtab else None,
        "line": sal.line,
        "kind": KINDS.get(frame.type(), "plain"),
    }


def register(name):
    return int(gdb.newest_frame().read_register(name)) & 0xffffffff


def stopped():
    """The number of the call that the thread enters; nothing where it leaves one."""
    wide = gdb.newest_frame().architecture().name() == "i386:x86-64"
    number, result = [register(name) for name in (("orig_rax", "rax") if wide else ("orig_eax", "eax"))]
    thread = gdb.selected_thread().num
    # Each call stops at its entry, where the kernel says ENOSYS, and at its end.
    if result != NOT_YET or inside.get(thread) == number:
        inside.pop(thread, None)
        return None
    inside[thread] = number
    return number


NOT_YET = -38 & 0xffffffff
# What gdb says of a thread that the end of its process has taken away meanwhile.
GONE = "No such process"
inside = {}
try:
    while gdb.selected_inferior().pid != 0 and gdb.selected_thread() is not None:
        try:
            number = stopped()
            if number is not None:
                row = {"thread": gdb.selected_thread().num, "number": number, "frames": frames()}
                out.write(json.dumps(row) + "\n")
        except gdb.error as error:
            if GONE not in str(error):
                raise
        gdb.execute("continue", to_string=True)
except gdb.error as error:
    out.write(json.dumps({"failure": str(error)}) + "\n")
out.close()
