"""The exit statuses of `nas`."""

OK = 0
FAULT = 1  # of the machine: a file that cannot be written, a full disk; or a damaged file
WRONG_USE = 2  # a key, a value or a file that was given
HUNG_UP = 129  # the terminal was closed: SIGHUP
INTERRUPTED = 130  # Ctrl-C: SIGINT
CLOSED_PIPE = 141  # whoever read the output has gone: SIGPIPE
TERMINATED = 143  # SIGTERM
