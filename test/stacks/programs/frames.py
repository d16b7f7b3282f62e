"""Calls write from many kinds of frames. What is written is the stack as Python itself has it: lists of function, file, line."""

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import sys
import threading

OUT = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)


def stack(frame):
    frames = []
    while frame is not None:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        frames.append([name, code.co_filename, frame.f_lineno or 0])
        frame = frame.f_back
    return (json.dumps(frames) + "\n").encode()


def mark(*ignored):
    os.write(OUT, stack(sys._getframe()))
    return 0


def recursive(depth):
    if depth > 0:
        return recursive(depth - 1)
    return mark()


def generator():
    mark()
    received = yield 1
    mark(received)
    yield from inner_generator()


def inner_generator():
    yield 2
    mark()


class Made:
    attribute = mark()

    def __init__(self):
        mark()

    @property
    def value(self):
        return mark()

    def __lt__(self, other):
        mark()
        return False

    def __enter__(self):
        mark()
        return self

    def __exit__(self, *details):
        mark()

    def __getattr__(self, name):
        mark()
        return name

    def __del__(self):
        mark()

    class Inner:
        @staticmethod
        def method():
            return mark()

        @classmethod
        def of_class(cls):
            return cls.method()


class Meta(type):
    def __call__(cls):
        mark()
        return super().__call__()


class OfMeta(metaclass=Meta):
    def __init__(self):
        super().__init__()
        mark()


def closure():
    captured = 1

    def inside():
        mark(captured)

    inside()
    return inside


@contextlib.contextmanager
def managed():
    mark()
    yield
    mark()


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorated
def wrapped():
    mark()


def größe_Ωж𝒳():
    mark()


def many_lines(
    one=1,
    other=2,
):
    text = "a"


    mark(
        one,
        mark(
            other
        ),
    )


    return text


def failing():
    try:
        raise ValueError("x")
    except ValueError:
        mark()
    finally:
        mark()


async def waited(depth):
    await asyncio.sleep(0)
    if depth > 0:
        return await waited(depth - 1)
    mark()


async def produced():
    for number in range(2):
        mark()
        yield number


async def tasks():
    await asyncio.gather(waited(1), waited(2))
    async for number in produced():
        mark(number)
    await asyncio.get_running_loop().run_in_executor(None, mark)


def in_thread(event):
    recursive(2)
    event.wait()
    sorted([1, 2, 3], key=mark)


def threads():
    events = [threading.Event() for _ in range(3)]
    own = [threading.Thread(target=in_thread, args=(event,)) for event in events]
    for thread in own:
        thread.start()
    mark()
    for event in events:
        event.set()
    for thread in own:
        thread.join()


def callbacks():
    sorted([3, 1, 2], key=lambda value: mark() + value)
    sorted([Made(), Made()])
    list(map(mark, [1]))
    max([1, 2], key=lambda value: recursive(value))
    functools.reduce(lambda one, other: mark(), [1, 2, 3])
    re.sub("a", lambda match: str(mark()), "banana")
    [mark() for _ in range(2)]
    {key: mark() for key in range(1)}
    any(mark() for _ in range(2))
    json.loads('{"a": 1}', object_hook=lambda value: mark())
    functools.partial(recursive, 1)()
    exec(compile("def made():\n\n  mark()\nmade()", "<made>", "exec"), {"mark": mark})
    eval("[mark(), recursive(1)]")


def imported():
    folder = os.path.dirname(sys.argv[1])
    with open(os.path.join(folder, "imported_module.py"), "w") as file:
        file.write("import __main__\n\ndef own():\n    __main__.mark()\n\nown()\n")
    sys.path.insert(0, folder)
    import imported_module

    imported_module.own()


def handler(number, frame):
    mark()


def signals():
    signal.signal(signal.SIGUSR1, handler)
    os.kill(os.getpid(), signal.SIGUSR1)
    recursive(1)


def forked():
    child = os.fork()
    if child == 0:
        recursive(1)
        os._exit(0)
    os.waitpid(child, 0)


def main():
    mark(), mark()
    recursive(5)
    made = generator()
    next(made)
    made.send(1)
    list(made)
    with Made() as one:
        one.value
        one.missing
    del one
    Made.Inner.of_class()
    OfMeta()
    closure()()
    with managed():
        pass
    wrapped()
    größe_Ωж𝒳()
    many_lines()
    failing()
    callbacks()
    asyncio.run(tasks())
    threads()
    imported()
    signals()
    forked()
    recursive(200)


main()
mark()
