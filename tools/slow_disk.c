/*
 * A slow disk, for measurements on a machine that has none: pread of what is not in the page cache
 * takes SLOW_DISK_MS milliseconds longer. To be preloaded (LD_PRELOAD); tools/figures-cold does.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void wait_for_disk(void)
{
    const char *text = getenv("SLOW_DISK_MS");
    long ms = text != NULL ? strtol(text, NULL, 10) : 0;
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

__attribute__((visibility("default"))) ssize_t pread64(int fd, void *to, size_t size,
                                                       off64_t offset)
{
    struct iovec piece = {to, size};
    ssize_t got = preadv2(fd, &piece, 1, offset, RWF_NOWAIT);
    if (got == (ssize_t)size) {
        return got;
    }
    wait_for_disk();
    return syscall(SYS_pread64, fd, to, size, offset);
}

__attribute__((visibility("default"))) ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
    return pread64(fd, to, size, offset);
}
