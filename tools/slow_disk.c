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

__attribute__((visibility("default"))) ssize_t pread64(int __fd, void *__buf, size_t __nbytes,
                                                       off64_t __offset)
{
    struct iovec piece = {__buf, __nbytes};
    ssize_t got = preadv2(__fd, &piece, 1, __offset, RWF_NOWAIT);
    if (got == (ssize_t)__nbytes) {
        return got;
    }
    wait_for_disk();
    return syscall(SYS_pread64, __fd, __buf, __nbytes, __offset);
}

__attribute__((visibility("default"))) ssize_t pread(int __fd, void *__buf, size_t __nbytes,
                                                     off_t __offset)
{
    return pread64(__fd, __buf, __nbytes, __offset);
}
