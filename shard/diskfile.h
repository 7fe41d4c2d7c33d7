/*
 * Disk files: a file of the store as it is on the disk, for those who look for damage.
 *
 * Bytes are read beside the page cache where the filesystem can do that (O_DIRECT): what is in the
 * cache may be good when the disk is not, and what others have in it is not pushed out. Otherwise
 * the cache is asked to forget what was read. Where the disk gives an error the file is read block
 * by block, and what cannot be read comes as zeros and is noted as a gap, so that the rest of the
 * file can be judged.
 *
 * Belongs to one thread. The descriptor is its own: the store may close and remove the file.
 */
#ifndef SC_SHARD_DISKFILE_H
#define SC_SHARD_DISKFILE_H

#include "common/status.h"
#include "shard/files.h"

#include <stdbool.h>
#include <sys/types.h>

#define SC_DISKFILE_GAPS_MAX 1024u

struct sc_diskfile_gap {
    uint64_t offset;
    uint64_t size;
};

/* Readable: size, device, inode, gaps. */
struct sc_diskfile {
    int fd;
    bool direct;
    bool forget; /* have the cache forget what was read */
    uint64_t size; /* when it was opened */
    dev_t device;
    ino_t inode;
    uint8_t *window; /* NULL: none yet */
    uint64_t window_offset;
    size_t window_size;
    struct sc_diskfile_gap *gaps; /* in the order in which they were met */
    size_t gap_count;
};

/* Opens a file of the directory. `cached`: through the page cache, as the file's writer does, since
 * it has just been written. SC_NOTFOUND, SC_IO. */
enum sc_status sc_diskfile_open(struct sc_diskfile *file, const struct sc_files *files,
                                const char *name, bool cached, char *why);
void sc_diskfile_close(struct sc_diskfile *file);

/* Reads as sc_io_read does, but zeros for what cannot be read; `file` is a struct sc_diskfile. -1
 * with errno: another error than EIO, or too many gaps. Large reads should be in order. */
ssize_t sc_diskfile_read(void *arg, void *to, size_t size, uint64_t offset);

/* The next read asks the disk again. */
void sc_diskfile_reread(struct sc_diskfile *file);

/* Whether some of these bytes could not be read. */
bool sc_diskfile_has_gap(const struct sc_diskfile *file, uint64_t offset, uint64_t size);

#endif
