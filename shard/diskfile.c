#include "shard/diskfile.h"

#include "common/buf.h"
#include "shard/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)4096) /* what direct reads are aligned to, and the unit of gaps */
#define WINDOW_SIZE ((size_t)256 * BLOCK)

enum sc_status sc_diskfile_open(struct sc_diskfile *file, const struct sc_files *files,
                                const char *name, bool cached, char *why)
{
    struct stat stat;
    int fd = -1;
    if (!cached) {
        fd = sc_io_open(files->dir_fd, name, O_RDONLY | O_DIRECT);
    }
    bool direct = fd >= 0;
    if (fd < 0 && (cached || errno == EINVAL)) {
        fd = sc_io_open(files->dir_fd, name, O_RDONLY);
    }
    if (fd < 0 || fstat(fd, &stat) != 0) {
        enum sc_status status = errno == ENOENT ? SC_NOTFOUND : SC_IO;
        sc_files_fail(files, "open", name, why);
        if (fd >= 0) {
            (void)close(fd);
        }
        return status;
    }
    *file = (struct sc_diskfile){
        .fd = fd,
        .direct = direct,
        .forget = !cached,
        .size = (uint64_t)stat.st_size,
        .device = stat.st_dev,
        .inode = stat.st_ino,
    };
    return SC_OK;
}

void sc_diskfile_close(struct sc_diskfile *file)
{
    (void)close(file->fd);
    free(file->window);
    free(file->gaps);
}

/* One read; without O_DIRECT when that turns out not to work here. */
static ssize_t read_raw(struct sc_diskfile *file, uint8_t *to, size_t size, uint64_t offset)
{
    ssize_t got = sc_io_read_once(file->fd, to, size, offset);
    if (got < 0 && errno == EINVAL && file->direct) {
        int flags = fcntl(file->fd, F_GETFL);
        file->direct = false;
        if (flags >= 0 && fcntl(file->fd, F_SETFL, flags & ~O_DIRECT) == 0) {
            got = sc_io_read_once(file->fd, to, size, offset);
        }
    }
    if (got > 0 && !file->direct && file->forget) {
        (void)posix_fadvise(file->fd, (off_t)offset, got, POSIX_FADV_DONTNEED);
    }
    return got;
}

static bool add_gap(struct sc_diskfile *file, uint64_t offset, uint64_t size)
{
    struct sc_diskfile_gap *last = file->gap_count > 0 ? &file->gaps[file->gap_count - 1] : NULL;
    if (sc_diskfile_has_gap(file, offset, size)) {
        return true;
    }
    if (last != NULL && last->offset + last->size == offset) {
        last->size += size;
        return true;
    }
    if (file->gap_count == SC_DISKFILE_GAPS_MAX) {
        return false;
    }
    file->gaps = sc_realloc(file->gaps, (file->gap_count + 1) * sizeof *file->gaps);
    file->gaps[file->gap_count++] = (struct sc_diskfile_gap){offset, size};
    return true;
}

/* The window as a whole could not be read. Returns how much of it there is. */
static ssize_t read_blocks(struct sc_diskfile *file, uint64_t offset)
{
    size_t done = 0;
    while (done < WINDOW_SIZE && offset + done < file->size) {
        uint64_t at = offset + done;
        size_t there = file->size - at < BLOCK ? (size_t)(file->size - at) : BLOCK;
        ssize_t got = read_raw(file, file->window + done, BLOCK, at);
        if (got < 0 && errno == EIO) {
            memset(file->window + done, 0, there);
            if (!add_gap(file, at, there)) {
                errno = EIO;
                return -1;
            }
            got = (ssize_t)there;
        }
        if (got < 0) {
            return -1;
        }
        done += (size_t)got;
        if ((size_t)got < BLOCK) {
            break;
        }
    }
    return (ssize_t)done;
}

static bool fill(struct sc_diskfile *file, uint64_t offset)
{
    if (file->window == NULL) {
        file->window = aligned_alloc(BLOCK, WINDOW_SIZE);
        if (file->window == NULL) {
            errno = ENOMEM;
            return false;
        }
    }
    file->window_offset = offset / BLOCK * BLOCK;
    file->window_size = 0;
    ssize_t got = read_raw(file, file->window, WINDOW_SIZE, file->window_offset);
    if (got < 0 && errno == EIO) {
        got = read_blocks(file, file->window_offset);
    }
    file->window_size = got > 0 ? (size_t)got : 0;
    return got >= 0;
}

ssize_t sc_diskfile_read(void *arg, void *to, size_t size, uint64_t offset)
{
    struct sc_diskfile *file = arg;
    size_t done = 0;
    while (done < size) {
        uint64_t at = offset + done;
        bool inside = at >= file->window_offset && at - file->window_offset < file->window_size;
        if (!inside && !fill(file, at)) {
            return -1;
        }
        size_t skip = (size_t)(at - file->window_offset);
        if (skip >= file->window_size) {
            break; /* the end of the file */
        }
        size_t part = file->window_size - skip;
        part = part < size - done ? part : size - done;
        memcpy((uint8_t *)to + done, file->window + skip, part);
        done += part;
    }
    return (ssize_t)done;
}

void sc_diskfile_reread(struct sc_diskfile *file)
{
    file->window_size = 0;
}

bool sc_diskfile_has_gap(const struct sc_diskfile *file, uint64_t offset, uint64_t size)
{
    for (size_t i = 0; i < file->gap_count; i++) {
        const struct sc_diskfile_gap *gap = &file->gaps[i];
        if (gap->offset < offset + size && offset < gap->offset + gap->size) {
            return true;
        }
    }
    return false;
}
