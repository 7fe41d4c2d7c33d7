/*
 * System calls of the engine, in the shape it needs them: interrupted calls are repeated, partial
 * reads and writes carried on. And the place where tests make them fail.
 *
 * All return -1 and set errno on failure. Any thread may call them.
 */
#ifndef SC_SHARD_IO_H
#define SC_SHARD_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Kinds of calls, as bits, for sc_io_fault. */
enum {
    SC_IO_OPEN = 1,
    SC_IO_READ = 2,
    SC_IO_WRITE = 4,
    SC_IO_SYNC = 8,
    SC_IO_ALLOCATE = 16,
    SC_IO_TRUNCATE = 32,
    SC_IO_RENAME = 64,
    SC_IO_UNLINK = 128,
    SC_IO_LINK = 256,
    SC_IO_ANY = 511,
};

/* openat with O_CLOEXEC; a created file has mode 0600. */
int sc_io_open(int dir_fd, const char *name, int flags);

/* Writes all of it at `offset`. */
int sc_io_write(int fd, const void *data, size_t size, uint64_t offset);

/* Reads up to `size` bytes at `offset`, fewer only at the end of the file; returns how many. */
ssize_t sc_io_read(int fd, void *to, size_t size, uint64_t offset);

/* One pread: may read less than there is. For O_DIRECT, where the rest could not be asked for. */
ssize_t sc_io_read_once(int fd, void *to, size_t size, uint64_t offset);

/* As sc_io_read, into two pieces of memory, one after the other. */
ssize_t sc_io_read2(int fd, void *first, size_t first_size, void *second, size_t second_size,
                    uint64_t offset);

/* The same, but without waiting for the disk: gives what is in the page cache, which may be less
 * than was asked for. EAGAIN: not even the first byte is. EOPNOTSUPP: the filesystem cannot tell.
 */
ssize_t sc_io_read2_now(int fd, void *first, size_t first_size, void *second, size_t second_size,
                        uint64_t offset);

/* Waits for what an earlier call has begun, and begins to bring the rest of the file to the disk:
 * so that a sync that follows finds little to do. Advice only, promises nothing. */
void sc_io_flush(int fd);

int sc_io_fdatasync(int fd);
int sc_io_fsync(int fd);

/* Takes disk space for a part of the file without changing its size. 0 also where the filesystem
 * cannot do it: nothing is reserved then. Heeds the process's limit on file sizes (EFBIG). */
int sc_io_allocate(int fd, uint64_t offset, uint64_t size);

/* Cuts the file at `size` and gives back space allocated behind it. */
int sc_io_truncate(int fd, uint64_t size);

/* Makes a directory, mode 0700. Counts as SC_IO_OPEN. */
int sc_io_mkdir(int dir_fd, const char *name);
/* Two files change names, at once. Counts as SC_IO_RENAME. */
int sc_io_exchange(int dir_fd, const char *a, const char *b);
int sc_io_rename(int dir_fd, const char *from, const char *to);
int sc_io_unlink(int dir_fd, const char *name);

/* Another name, in another directory perhaps, for a file. */
int sc_io_link(int from_fd, const char *from, int to_fd, const char *to);

/* For tests: the call number `countdown` (1: the next one) of the kinds in `calls` fails with
 * `error`, and so do all behind it unless `once`. A failing write writes half first. A countdown of
 * 0 switches failing off. Returns how many calls of the kinds asked for before were counted.
 * A whole process does the same with EIO at the failpoints io_read, io_write and io_sync. */
uint64_t sc_io_fault(unsigned calls, uint64_t countdown, int error, bool once);

/* For tests: about one of so many calls of sc_io_read2_now finds nothing in the page cache,
 * whatever is there; 1: every one, 0: as it is. */
void sc_io_pretend_cold(unsigned one_in);

/* Whether calls of these kinds may be made to fail now: then nobody should get around them. */
bool sc_io_may_fail(unsigned calls);

#endif
