"""Work that a broker gives away, such as an fsync, and that ends when the test says so."""

from pykbroker.later import Later


class HeldWork:
    """An Offload that does nothing until it is told to, and fails where the disk does."""

    def __init__(self):
        self.work = []

    def __call__(self, work):
        later = Later()
        self.work.append((work, later))
        return later

    def run_one(self):
        """The oldest."""
        work, later = self.work.pop(0)
        try:
            value = work()
        except OSError as error:
            later.fail(error)
        else:
            later.settle(value)

    def run(self):
        """All of it, and what comes of it."""
        while self.work:
            self.run_one()

    def fail_one(self):
        """The oldest fails, without being tried."""
        self.work.pop(0)[1].fail(OSError("the disk is gone"))
