# Runs inside gdb: the frames at each chosen call, as JSON lines into the file $STACKS_OUT.
import json
import os

import gdb

out = open(os.environ["STACKS_OUT"], "w")
for setting in ("pagination off", "backtrace past-main on", "backtrace past-entry on", "confirm off", "backtrace limit 1024",
                "disable-randomization on", "debuginfod enabled off", "print thread-events off"):
    try:
        gdb.execute("set " + setting)
    except gdb.error:
        pass
gdb.execute("handle all nostop noprint pass")
gdb.execute("catch syscall " + os.environ["STACKS_CALLS"])
gdb.execute("run > /dev/null", to_string=True)
inside = set()


def frames():
    found = []
    frame = gdb.newest_frame()
    while frame is not None and len(found) < 1024:
        # Functions that have left by a jump have no frame: gdb makes them up from who calls whom.
        if frame.type() != gdb.TAILCALL_FRAME:
            found.append(described(frame))
        try:
            frame = frame.older()
        except gdb.error:
            break
    return found


def described(frame):
    sal = frame.find_sal()
    return {
        "function": frame.name(),
        "file": sal.symtab.filename if sal.symtab else None,
        "line": sal.line,
        "inlined": frame.type() == gdb.INLINE_FRAME,
        "trampoline": frame.type() == gdb.SIGTRAMP_FRAME,
    }


while gdb.selected_inferior().pid != 0 and gdb.selected_thread() is not None:
    thread = gdb.selected_thread().ptid
    # Each call stops at its entry and at its end.
    if thread in inside:
        inside.discard(thread)
    else:
        inside.add(thread)
        number = int(gdb.parse_and_eval("(long)$orig_rax" if gdb.selected_frame().architecture().name() == "i386:x86-64"
                                        else "(long)$orig_eax"))
        out.write(json.dumps({"number": number, "frames": frames()}) + "\n")
    gdb.execute("continue", to_string=True)
out.close()
