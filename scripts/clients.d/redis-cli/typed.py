"""Types at redis-cli on a terminal, and prints what it says: typed.py PORT"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

child, terminal = pty.fork()
if child == 0:
    # a terminal without a size is asked for the place of its cursor, and nobody would answer
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execvp("redis-cli", ["redis-cli", "-p", sys.argv[1]])
said, asked = b"", 0
while select.select([terminal], [], [], 20)[0]:
    try:
        some = os.read(terminal, 4096)
    except OSError:  # it ended
        break
    said += some
    if asked == 0 and b"> " in said:
        os.write(terminal, b"ping\r")
        asked = 1
    elif asked == 1 and b"PONG" in said:
        os.write(terminal, b"quit\r")
        asked = 2
    if not some:
        break
print(said.decode(errors="replace"))
