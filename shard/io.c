#include "shard/io.h"

#include "common/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * What tests have asked for; `armed` is 0 in production and the only thing looked at there. All
 * else is guarded by `mutex`, since a test may ask while threads of the store are at work.
 */
static struct {
    atomic_uint armed;
    pthread_mutex_t mutex;
    uint64_t counted;
    uint64_t countdown;
    int error;
    bool once;
} fault = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct {
    atomic_uint one_in;
    atomic_uint calls;
} cold;

uint64_t sc_io_fault(unsigned calls, uint64_t countdown, int error, bool once)
{
    pthread_mutex_lock(&fault.mutex);
    uint64_t counted = fault.counted;
    fault.counted = 0;
    fault.countdown = countdown;
    fault.error = error;
    fault.once = once;
    atomic_store(&fault.armed, countdown > 0 ? calls : 0);
    pthread_mutex_unlock(&fault.mutex);
    return counted;
}

static bool is_armed(unsigned calls)
{
    return (atomic_load_explicit(&fault.armed, memory_order_acquire) & calls) != 0;
}

bool sc_io_may_fail(unsigned calls)
{
    return is_armed(calls) || ((calls & SC_IO_READ) != 0 &&
                               atomic_load_explicit(&cold.one_in, memory_order_relaxed) != 0);
}

/* The failpoints io_read, io_write and io_sync, for tests of whole processes. */
static bool fails_by_failpoint(unsigned call)
{
    const char *name = call == SC_IO_READ    ? "io_read"
                       : call == SC_IO_WRITE ? "io_write"
                       : call == SC_IO_SYNC  ? "io_sync"
                                             : NULL;
    if (name == NULL || sc_failpoint_action(name) != SC_FAILPOINT_FAIL) {
        return false;
    }
    errno = EIO;
    return true;
}

/* Whether the fault that tests have asked for, if any, befalls this call; sets errno then. */
static bool fails_by_fault(unsigned call)
{
    pthread_mutex_lock(&fault.mutex);
    bool failed = false;
    if (is_armed(call)) {
        fault.counted++;
        failed =
            fault.counted == fault.countdown || (fault.counted > fault.countdown && !fault.once);
        errno = failed ? fault.error : errno;
    }
    pthread_mutex_unlock(&fault.mutex);
    return failed;
}

static bool fails(unsigned call)
{
    return is_armed(call) ? fails_by_fault(call) : fails_by_failpoint(call);
}

void sc_io_pretend_cold(unsigned one_in)
{
    atomic_store(&cold.calls, 0);
    atomic_store(&cold.one_in, one_in);
}

static bool pretends_cold(void)
{
    unsigned one_in = atomic_load_explicit(&cold.one_in, memory_order_relaxed);
    if (one_in == 0) {
        return false;
    }
    unsigned number = atomic_fetch_add(&cold.calls, 1);
    return (number * 2654435761u >> 8) % one_in == 0;
}

int sc_io_open(int dir_fd, const char *name, int flags)
{
    if (fails(SC_IO_OPEN)) {
        return -1;
    }
    int fd;
    do {
        fd = openat(dir_fd, name, flags | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static int write_all(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(fd, data, size, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written == 0 ? EIO : errno;
            return -1;
        }
        data += written;
        size -= (size_t)written;
        offset += (uint64_t)written;
    }
    return 0;
}

int sc_io_write(int fd, const void *data, size_t size, uint64_t offset)
{
    if (fails(SC_IO_WRITE)) {
        int error = errno;
        (void)write_all(fd, data, size / 2, offset);
        errno = error;
        return -1;
    }
    return write_all(fd, data, size, offset);
}

ssize_t sc_io_read(int fd, void *to, size_t size, uint64_t offset)
{
    return sc_io_read2(fd, to, size, NULL, 0, offset);
}

ssize_t sc_io_read_once(int fd, void *to, size_t size, uint64_t offset)
{
    if (fails(SC_IO_READ)) {
        return -1;
    }
    ssize_t got;
    do {
        got = pread(fd, to, size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got;
}

ssize_t sc_io_read2(int fd, void *first, size_t first_size, void *second, size_t second_size,
                    uint64_t offset)
{
    if (fails(SC_IO_READ)) {
        return -1;
    }
    size_t size = first_size + second_size;
    size_t done = 0;
    while (done < size) {
        ssize_t got;
        if (done >= first_size) {
            got = pread(fd, (uint8_t *)second + (done - first_size), size - done,
                        (off_t)(offset + done));
        } else if (second_size == 0) {
            got = pread(fd, (uint8_t *)first + done, size - done, (off_t)(offset + done));
        } else {
            struct iovec pieces[2] = {{(uint8_t *)first + done, first_size - done},
                                      {second, second_size}};
            got = preadv(fd, pieces, 2, (off_t)(offset + done));
        }
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)done;
}

ssize_t sc_io_read2_now(int fd, void *first, size_t first_size, void *second, size_t second_size,
                        uint64_t offset)
{
    if (fails(SC_IO_READ)) {
        return -1;
    }
    if (pretends_cold()) {
        errno = EAGAIN;
        return -1;
    }
    struct iovec pieces[2] = {{first, first_size}, {second, second_size}};
    ssize_t got;
    do {
        got = preadv2(fd, pieces, second_size > 0 ? 2 : 1, (off_t)offset, RWF_NOWAIT);
    } while (got < 0 && errno == EINTR);
    return got;
}

void sc_io_flush(int fd)
{
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
}

int sc_io_fdatasync(int fd)
{
    /* Never repeated: after a failure the kernel may have dropped the pages, and a second call that
     * succeeds would say nothing about them. */
    return fails(SC_IO_SYNC) ? -1 : fdatasync(fd);
}

int sc_io_fsync(int fd)
{
    return fails(SC_IO_SYNC) ? -1 : fsync(fd);
}

int sc_io_allocate(int fd, uint64_t offset, uint64_t size)
{
    if (fails(SC_IO_ALLOCATE)) {
        return -1;
    }
    /* With FALLOC_FL_KEEP_SIZE the kernel does not look at the limit; a write would. */
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        offset + size > limit.rlim_cur) {
        errno = EFBIG;
        return -1;
    }
    int status;
    do {
        status = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    } while (status != 0 && errno == EINTR);
    if (status != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        return 0;
    }
    return status;
}

int sc_io_truncate(int fd, uint64_t size)
{
    if (fails(SC_IO_TRUNCATE)) {
        return -1;
    }
    int status;
    do {
        status = ftruncate(fd, (off_t)size);
    } while (status != 0 && errno == EINTR);
    return status;
}

int sc_io_mkdir(int dir_fd, const char *name)
{
    return fails(SC_IO_OPEN) ? -1 : mkdirat(dir_fd, name, 0700);
}

int sc_io_exchange(int dir_fd, const char *a, const char *b)
{
    return fails(SC_IO_RENAME) ? -1 : renameat2(dir_fd, a, dir_fd, b, RENAME_EXCHANGE);
}

int sc_io_rename(int dir_fd, const char *from, const char *to)
{
    return fails(SC_IO_RENAME) ? -1 : renameat(dir_fd, from, dir_fd, to);
}

int sc_io_unlink(int dir_fd, const char *name)
{
    return fails(SC_IO_UNLINK) ? -1 : unlinkat(dir_fd, name, 0);
}

int sc_io_link(int from_fd, const char *from, int to_fd, const char *to)
{
    return fails(SC_IO_LINK) ? -1 : linkat(from_fd, from, to_fd, to, 0);
}
