#include "shard/segment.h"

#include "common/buf.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "shard/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#define FORMAT 1u
#define STEP_MIN (UINT64_C(1) << 20)
#define STEP_MAX (UINT64_C(32) << 20)
#define BLOCK (UINT64_C(4) << 10)
#define FULL_PARTS 16u /* a full file is allocated in so many parts, or more */

static const uint8_t magic[8] = "SCASKDAT";

static struct sc_segment *segment_alloc(uint64_t number, uint64_t salt, int fd)
{
    struct sc_segment *segment = sc_calloc(1, sizeof *segment);
    segment->number = number;
    segment->salt = salt;
    segment->fd = fd;
    segment->allocate_step = STEP_MIN;
    segment->log_offset = UINT64_MAX;
    segment->version_min = UINT64_MAX;
    return segment;
}

static void encode_header(uint8_t header[SC_SEGMENT_HEADER_SIZE], uint64_t number, uint64_t salt,
                          const struct sc_segment_owner *owner)
{
    memcpy(header, magic, sizeof magic);
    sc_le32_put(header + 8, FORMAT);
    sc_le32_put(header + 12, owner->shard_id);
    memcpy(header + 16, owner->cluster, 16);
    sc_le64_put(header + 32, number);
    sc_le64_put(header + 40, salt);
    sc_le64_put(header + 48, sc_clock_wall_us());
    sc_le64_put(header + 56, XXH3_64bits(header, 56));
}

enum sc_status sc_segment_create(const struct sc_files *files, uint64_t number, uint64_t salt,
                                 const struct sc_segment_owner *owner, struct sc_segment **segment,
                                 char *why)
{
    char name[SC_FILES_NAME_SIZE];
    sc_files_data_name(name, number);
    int fd = sc_io_open(files->dir_fd, name, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0) {
        return sc_files_fail(files, "create", name, why);
    }
    uint8_t header[SC_SEGMENT_HEADER_SIZE];
    encode_header(header, number, salt, owner);
    struct sc_segment *made = segment_alloc(number, salt, fd);
    enum sc_status status = SC_OK;
    if (!sc_segment_allocate(made, sizeof header, false)) {
        status = sc_files_fail(files, "allocate space for", name, why);
    } else if (sc_io_write(fd, header, sizeof header, 0) != 0) {
        status = sc_files_fail(files, "write", name, why);
    } else if (sc_io_fsync(fd) != 0) {
        status = sc_files_fail(files, "sync", name, why);
    } else {
        status = sc_files_sync(files, why);
    }
    if (status != SC_OK) {
        (void)sc_io_unlink(files->dir_fd, name); /* else the next opening removes it */
        sc_segment_close(made);
        return status;
    }
    made->size = sizeof header;
    *segment = made;
    return SC_OK;
}

enum sc_status sc_segment_open(const struct sc_files *files, uint64_t number, uint64_t salt,
                               bool read_only, struct sc_segment **segment, char *why)
{
    char name[SC_FILES_NAME_SIZE];
    sc_files_data_name(name, number);
    int fd = sc_io_open(files->dir_fd, name, read_only ? O_RDONLY : O_RDWR);
    if (fd < 0) {
        enum sc_status status = errno == ENOENT ? SC_NOTFOUND : SC_IO;
        sc_files_fail(files, "open", name, why);
        return status;
    }
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        enum sc_status status = sc_files_fail(files, "look at", name, why);
        (void)close(fd);
        return status;
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* advice only */
    *segment = segment_alloc(number, salt, fd);
    (*segment)->size = (uint64_t)stat.st_size;
    (*segment)->allocated = (*segment)->size;
    return SC_OK;
}

enum sc_status sc_segment_open_missing(uint64_t number, uint64_t salt, struct sc_segment **segment,
                                       char *why)
{
    int fd = sc_io_open(AT_FDCWD, "/dev/null", O_RDONLY);
    if (fd < 0) {
        return sc_fail(why, SC_IO, "cannot open /dev/null: %s", strerror(errno));
    }
    *segment = segment_alloc(number, salt, fd);
    return SC_OK;
}

void sc_segment_close(struct sc_segment *segment)
{
    if (segment != NULL) {
        assert(segment->readers == 0);
        sc_mapping_unmap(&segment->mapping);
        (void)close(segment->fd);
        free(segment);
    }
}

bool sc_segment_identify(const uint8_t header[SC_SEGMENT_HEADER_SIZE], uint64_t *number,
                         uint64_t *salt)
{
    *number = sc_le64_get(header + 32);
    *salt = sc_le64_get(header + 40);
    return memcmp(header, magic, sizeof magic) == 0 && sc_le32_get(header + 8) == FORMAT &&
           sc_le64_get(header + 56) == XXH3_64bits(header, 56);
}

enum sc_status sc_segment_judge(const uint8_t *header, size_t size, uint64_t number, uint64_t salt,
                                bool *too_new, char *why)
{
    *too_new = false;
    if (size < SC_SEGMENT_HEADER_SIZE) {
        return sc_fail(why, SC_CORRUPT, "it is shorter than a header");
    }
    if (memcmp(header, magic, sizeof magic) != 0 ||
        sc_le64_get(header + 56) != XXH3_64bits(header, 56)) {
        return sc_fail(why, SC_CORRUPT, "its header is damaged");
    }
    if (sc_le32_get(header + 8) != FORMAT) {
        *too_new = true;
        return sc_fail(why, SC_CORRUPT, "it is of format version %" PRIu32 ", this program knows 1",
                       sc_le32_get(header + 8));
    }
    if (sc_le64_get(header + 32) != number || sc_le64_get(header + 40) != salt) {
        return sc_fail(why, SC_CORRUPT, "its header is that of another file");
    }
    return SC_OK;
}

enum sc_status sc_segment_check(const struct sc_segment *segment, bool *too_new, char *why)
{
    uint8_t header[SC_SEGMENT_HEADER_SIZE];
    ssize_t got = sc_io_read(segment->fd, header, sizeof header, 0);
    if (got < 0) {
        *too_new = false;
        return sc_fail(why, SC_IO, "its header cannot be read: %s", strerror(errno));
    }
    return sc_segment_judge(header, (size_t)got, segment->number, segment->salt, too_new, why);
}

static uint64_t round_up(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* Whether the disk would keep its reserve if so much was taken. */
static bool keeps_reserve(const struct sc_segment *segment, uint64_t size)
{
    struct statvfs disk;
    return fstatvfs(segment->fd, &disk) != 0 || disk.f_blocks == 0 || /* it does not tell */
           (uint64_t)disk.f_bavail * disk.f_frsize >= size + SC_SEGMENT_DISK_RESERVE;
}

static bool is_full(void)
{
    return errno == ENOSPC || errno == EFBIG || errno == EDQUOT;
}

static bool allocate_to(struct sc_segment *segment, uint64_t end)
{
    uint64_t from = segment->allocated;
    if (sc_io_allocate(segment->fd, from, end - from) != 0) {
        return false;
    }
    segment->allocated = end;
    return true;
}

/* How much may be taken ahead: not more than a small part of a full file, nor beyond its end. */
static uint64_t step_of(const struct sc_segment *segment, uint64_t wanted)
{
    uint64_t step = segment->allocate_step;
    if (segment->full_size == 0) {
        return step;
    }
    uint64_t part = segment->full_size / FULL_PARTS;
    uint64_t end = segment->full_size + SC_SEGMENT_RESERVE;
    step = step < part ? step : part;
    return wanted + step <= end ? step : wanted < end ? end - wanted : 0;
}

bool sc_segment_allocate(struct sc_segment *segment, uint64_t size, bool small)
{
    uint64_t wanted = segment->size + size + (small ? 0 : SC_SEGMENT_RESERVE);
    if (wanted <= segment->allocated) {
        return true;
    }
    uint64_t near = round_up(wanted);
    uint64_t far = round_up(wanted + step_of(segment, wanted));
    if (keeps_reserve(segment, far - segment->allocated)) {
        if (allocate_to(segment, far)) {
            segment->allocate_step *= segment->allocate_step < STEP_MAX ? 2 : 1;
            return true;
        }
        if (!is_full()) {
            return false;
        }
    }
    /* Nearly full: take no more than this needs. */
    segment->allocate_step = STEP_MIN;
    bool new_file = segment->size == 0; /* a new file has its header in any case */
    if (!small && !new_file && !keeps_reserve(segment, near - segment->allocated)) {
        errno = ENOSPC;
        return false;
    }
    return allocate_to(segment, near);
}
