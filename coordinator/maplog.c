#include "coordinator/maplog.h"

#include "common/bytes.h"
#include "common/failpoint.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* The first entry of a fresh map is worth nothing if its directory is gone after a power loss. */
#define PARENT_NAME ".."
#define FILE_NAME "map.log"
#define TEMPORARY_NAME "map.log.tmp"
#define LOCK_NAME "LOCK"
#define MAGIC "SCMAPLOG"
#define FORMAT_VERSION 2u
#define FORMAT_VERSION_0_1 1u
#define FILE_HEADER_SIZE 16u
#define ENTRY_HEADER_SIZE 16u
#define ENTRY_SIZE_MAX (2u << 20) /* more than a map of the largest cluster needs */
#define LOG_SIZE_MAX (UINT64_C(1) << 30)
#define COMPACT_ON_OPEN (64u << 10)
#define COMPACT_WHILE_OPEN (4u << 20)
#define KIND_MAP 1u /* other kinds are those of changes */

struct sc_maplog {
    char *dir;
    int dir_fd;
    int lock_fd;
    int fd;
    uint64_t size; /* of the file: of what is confirmed */
    uint64_t compact_above;
    struct sc_cluster cluster; /* what the file says */
    bool failed; /* what is on disk is not known any more */
};

static enum sc_status fail_io(const struct sc_maplog *log, const char *what, const char *name,
                              char *why)
{
    return sc_fail(why, SC_IO, "cannot %s %s/%s: %s", what, log->dir, name, strerror(errno));
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return true;
}

/* ---- Entries ---- */

static void put_file_header(struct sc_buf *out)
{
    uint8_t *header = sc_buf_reserve(out, FILE_HEADER_SIZE);
    memcpy(header, MAGIC, 8);
    sc_le32_put(header + 8, FORMAT_VERSION);
    sc_le32_put(header + 12, 0);
    out->size += FILE_HEADER_SIZE;
}

static void put_entry(struct sc_buf *out, uint32_t kind, struct sc_slice payload)
{
    uint8_t *entry = sc_buf_reserve(out, ENTRY_HEADER_SIZE + payload.size);
    sc_le32_put(entry + 8, (uint32_t)payload.size);
    sc_le32_put(entry + 12, kind);
    memcpy(entry + ENTRY_HEADER_SIZE, payload.data, payload.size);
    sc_le64_put(entry, XXH3_64bits(entry + 8, 8 + payload.size));
    out->size += ENTRY_HEADER_SIZE + payload.size;
}

/* The size of the whole entry at the start of `rest`; 0 when there is none. */
static size_t check_entry(struct sc_slice rest)
{
    const uint8_t *entry = rest.data;
    if (rest.size < ENTRY_HEADER_SIZE) {
        return 0;
    }
    size_t size = sc_le32_get(entry + 8);
    if (size > ENTRY_SIZE_MAX || size > rest.size - ENTRY_HEADER_SIZE) {
        return 0;
    }
    if (sc_le64_get(entry) != XXH3_64bits(entry + 8, 8 + size)) {
        return 0;
    }
    return ENTRY_HEADER_SIZE + size;
}

static enum sc_status apply_entry(const uint8_t *entry, struct sc_cluster *cluster,
                                  struct sc_change *change, char *why)
{
    struct sc_slice payload = sc_slice(entry + ENTRY_HEADER_SIZE, sc_le32_get(entry + 8));
    uint32_t kind = sc_le32_get(entry + 12);
    if (kind == KIND_MAP) {
        sc_cluster_fini(cluster);
        return sc_cluster_decode(cluster, payload, why);
    }
    if (kind < SC_CHANGE_TERM || kind > SC_CHANGE_SHARD_WEIGHT) {
        return sc_fail(why, SC_CORRUPT,
                       "an entry is of kind %" PRIu32 ", which this version does not know", kind);
    }
    if (!sc_change_decode(kind, payload, change)) {
        return sc_fail(why, SC_CORRUPT, "an entry of kind %" PRIu32 " is not well-formed", kind);
    }
    if (!sc_change_apply(change, cluster)) {
        return sc_fail(why, SC_CORRUPT, "an entry of kind %" PRIu32 " does not fit those before it",
                       kind);
    }
    return SC_OK;
}

/* ---- Opening ---- */

static enum sc_status read_file(const struct sc_maplog *log, struct sc_buf *content, char *why)
{
    struct stat info;
    if (fstat(log->fd, &info) != 0) {
        return fail_io(log, "look at", FILE_NAME, why);
    }
    if ((uint64_t)info.st_size > LOG_SIZE_MAX) {
        return sc_fail(why, SC_CORRUPT, "%s/%s is %lld bytes long: that is no map log", log->dir,
                       FILE_NAME, (long long)info.st_size);
    }
    size_t size = (size_t)info.st_size;
    uint8_t *to = sc_buf_reserve(content, size + 1);
    while (content->size < size) {
        ssize_t got =
            pread(log->fd, to + content->size, size - content->size, (off_t)content->size);
        if (got < 0 && errno != EINTR) {
            return fail_io(log, "read", FILE_NAME, why);
        }
        if (got == 0) {
            break;
        }
        content->size += got > 0 ? (size_t)got : 0;
    }
    return SC_OK;
}

/* True when a whole entry starts anywhere in `rest` but at its beginning. */
static bool any_entry_in(struct sc_slice rest)
{
    const uint8_t *data = rest.data;
    for (size_t at = 1; at + ENTRY_HEADER_SIZE <= rest.size; at++) {
        if (check_entry(sc_slice(data + at, rest.size - at)) > 0) {
            return true;
        }
    }
    return false;
}

/* Cuts away what was never confirmed: a last entry that is not whole. */
static enum sc_status cut_tail(struct sc_maplog *log, size_t at, struct sc_slice rest, char *why)
{
    if (any_entry_in(rest)) {
        return sc_fail(why, SC_CORRUPT,
                       "%s/%s is damaged at offset %zu with whole entries behind: restore the file "
                       "from a copy",
                       log->dir, FILE_NAME, at);
    }
    sc_log_warn("%s/%s: cutting an unfinished entry of %zu bytes at offset %zu", log->dir,
                FILE_NAME, rest.size, at);
    if (ftruncate(log->fd, (off_t)at) != 0 || fsync(log->fd) != 0) {
        return fail_io(log, "cut", FILE_NAME, why);
    }
    log->size = at;
    return SC_OK;
}

static enum sc_status read_entries(struct sc_maplog *log, struct sc_slice content, char *why)
{
    struct sc_change change; /* its room is used again for every entry, and never cleared */
    const uint8_t *data = content.data;
    size_t at = FILE_HEADER_SIZE;
    while (at < content.size) {
        struct sc_slice rest = sc_slice(data + at, content.size - at);
        char detail[SC_WHY_SIZE] = "";
        size_t size = check_entry(rest);
        if (size == 0) {
            return cut_tail(log, at, rest, why);
        }
        if (apply_entry(data + at, &log->cluster, &change, detail) != SC_OK) {
            return sc_fail(why, SC_CORRUPT, "%s/%s, offset %zu: %.200s", log->dir, FILE_NAME, at,
                           detail);
        }
        at += size;
    }
    return SC_OK;
}

/* Writes a log with one entry, the map, or none, under the temporary name; returns its descriptor.
 */
static int write_new_file(const struct sc_maplog *log, struct sc_slice content, char *why)
{
    int fd = openat(log->dir_fd, TEMPORARY_NAME, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
                    0600);
    if (fd < 0) {
        (void)fail_io(log, "create", TEMPORARY_NAME, why);
        return -1;
    }
    sc_failpoint("maplog_created");
    if (!write_all(fd, content.data, content.size) || fsync(fd) != 0) {
        (void)fail_io(log, "write", TEMPORARY_NAME, why);
        (void)close(fd);
        return -1;
    }
    sc_failpoint("maplog_rewritten");
    return fd;
}

/* Puts a new log in the place of the old one. SC_IO: the old one is still there. SC_UNKNOWN: no
 * telling which one the next start will find. */
static enum sc_status replace_file(struct sc_maplog *log, char *why)
{
    struct sc_buf content = {0};
    struct sc_buf map = {0};
    put_file_header(&content);
    if (log->cluster.shard_count > 0) {
        sc_cluster_encode(&log->cluster, &map);
        put_entry(&content, KIND_MAP, sc_buf_slice(&map));
    }
    size_t size = content.size;
    int fd = write_new_file(log, sc_buf_slice(&content), why);
    sc_buf_fini(&content);
    sc_buf_fini(&map);
    if (fd < 0) {
        return SC_IO;
    }
    if (renameat(log->dir_fd, TEMPORARY_NAME, log->dir_fd, FILE_NAME) != 0) {
        (void)close(fd);
        return fail_io(log, "put in place", FILE_NAME, why);
    }
    sc_failpoint("maplog_renamed");
    if (log->fd >= 0) {
        (void)close(log->fd);
    }
    log->fd = fd;
    log->size = size;
    if (fsync(log->dir_fd) != 0) {
        log->failed = true;
        (void)fail_io(log, "put in place", FILE_NAME, why);
        return SC_UNKNOWN;
    }
    sc_failpoint("maplog_replaced");
    return SC_OK;
}

/* Replaces a log that has grown. That can wait when the disk is full. */
static enum sc_status compact(struct sc_maplog *log, char *why)
{
    enum sc_status status = replace_file(log, why);
    if (status == SC_IO) {
        sc_log_warn("the map log is not made shorter: %s", why);
        log->compact_above = 2 * log->size; /* not at once again */
        return SC_OK;
    }
    log->compact_above = COMPACT_WHILE_OPEN;
    return status;
}

static enum sc_status sync_parent(const struct sc_maplog *log, char *why)
{
    int fd = openat(log->dir_fd, PARENT_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno == EACCES ? SC_OK : fail_io(log, "open", PARENT_NAME, why);
    }
    enum sc_status status = fsync(fd) == 0 ? SC_OK : fail_io(log, "sync", PARENT_NAME, why);
    (void)close(fd);
    return status;
}

/* Reads the file header: stores the version of the format. */
static enum sc_status check_header(const struct sc_maplog *log, struct sc_slice content,
                                   uint32_t *version, char *why)
{
    const uint8_t *header = content.data;
    if (content.size < FILE_HEADER_SIZE || memcmp(header, MAGIC, 8) != 0) {
        return sc_fail(why, SC_CORRUPT, "%s/%s is no map log", log->dir, FILE_NAME);
    }
    *version = sc_le32_get(header + 8);
    if (*version != FORMAT_VERSION && *version != FORMAT_VERSION_0_1) {
        return sc_fail(why, SC_CORRUPT,
                       "%s/%s is of format %" PRIu32 ", this version reads formats up to %u",
                       log->dir, FILE_NAME, *version, FORMAT_VERSION);
    }
    return SC_OK;
}

static enum sc_status load(struct sc_maplog *log, char *why)
{
    log->fd = openat(log->dir_fd, FILE_NAME, O_RDWR | O_APPEND | O_CLOEXEC);
    if (log->fd < 0 && errno == ENOENT) {
        enum sc_status synced = sync_parent(log, why);
        return synced == SC_OK ? replace_file(log, why) : synced;
    }
    if (log->fd < 0) {
        return fail_io(log, "open", FILE_NAME, why);
    }
    struct sc_buf content = {0};
    uint32_t version = 0;
    enum sc_status status = read_file(log, &content, why);
    if (status == SC_OK) {
        log->size = content.size;
        status = check_header(log, sc_buf_slice(&content), &version, why);
    }
    if (status == SC_OK) {
        status = read_entries(log, sc_buf_slice(&content), why);
    }
    sc_buf_fini(&content);
    if (status == SC_OK && version != FORMAT_VERSION) {
        return replace_file(log, why); /* before an entry comes that the old version lacks */
    }
    if (status == SC_OK && log->size > COMPACT_ON_OPEN) {
        return compact(log, why);
    }
    return status;
}

static enum sc_status lock_dir(struct sc_maplog *log, char *why)
{
    if (mkdir(log->dir, 0700) != 0 && errno != EEXIST) {
        return sc_fail(why, SC_IO, "cannot make the directory %s: %s", log->dir, strerror(errno));
    }
    log->dir_fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->dir_fd < 0) {
        return sc_fail(why, SC_IO, "cannot open the directory %s: %s", log->dir, strerror(errno));
    }
    log->lock_fd = openat(log->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (log->lock_fd < 0) {
        return fail_io(log, "open", LOCK_NAME, why);
    }
    if (flock(log->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return sc_fail(why, SC_BUSY, "%s is in use by another process", log->dir);
    }
    /* Of a shard: it would be taken for a new cluster's. */
    if (faccessat(log->dir_fd, "MANIFEST", F_OK, 0) == 0 &&
        faccessat(log->dir_fd, FILE_NAME, F_OK, 0) != 0) {
        return sc_fail(why, SC_BADREQUEST,
                       "%s is the directory of a shard: give the coordinator one of its own",
                       log->dir);
    }
    return SC_OK;
}

enum sc_status sc_maplog_open(const char *dir, struct sc_cluster *cluster, struct sc_maplog **out,
                              char *why)
{
    struct sc_maplog *log = sc_calloc(1, sizeof *log);
    size_t length = strlen(dir);
    log->dir = sc_alloc(length + 1);
    memcpy(log->dir, dir, length + 1);
    log->dir_fd = log->lock_fd = log->fd = -1;
    log->compact_above = COMPACT_WHILE_OPEN;
    *cluster = (struct sc_cluster){0};
    enum sc_status status = lock_dir(log, why);
    if (status == SC_OK) {
        status = load(log, why);
    }
    if (status != SC_OK) {
        sc_maplog_close(log);
        return status;
    }
    sc_cluster_copy(&log->cluster, cluster);
    *out = log;
    return SC_OK;
}

void sc_maplog_close(struct sc_maplog *log)
{
    if (log == NULL) {
        return;
    }
    const int fds[] = {log->fd, log->lock_fd, log->dir_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    sc_cluster_fini(&log->cluster);
    free(log->dir);
    free(log);
}

/* ---- Appending ---- */

/* SC_IO: it is certainly not there. SC_UNKNOWN: no telling; a sync that failed is not tried again.
 */
static enum sc_status write_entry(const struct sc_maplog *log, struct sc_slice entry, char *why)
{
    bool written = sc_failpoint_action("maplog_write") != SC_FAILPOINT_FAIL &&
                   write_all(log->fd, entry.data, entry.size);
    if (!written) {
        (void)fail_io(log, "write", FILE_NAME, why);
        bool cut = sc_failpoint_action("maplog_cut") != SC_FAILPOINT_FAIL &&
                   ftruncate(log->fd, (off_t)log->size) == 0 && fsync(log->fd) == 0;
        return cut ? SC_IO : SC_UNKNOWN;
    }
    if (sc_failpoint_action("maplog_sync") == SC_FAILPOINT_FAIL || fdatasync(log->fd) != 0) {
        (void)fail_io(log, "sync", FILE_NAME, why);
        return SC_UNKNOWN;
    }
    sc_failpoint("maplog_synced");
    return SC_OK;
}

static enum sc_status append(struct sc_maplog *log, uint32_t kind, struct sc_slice payload,
                             char *why)
{
    if (log->failed) {
        return sc_fail(why, SC_IO, "%s/%s could not be written before: restart the coordinator",
                       log->dir, FILE_NAME);
    }
    struct sc_buf entry = {0};
    put_entry(&entry, kind, payload);
    enum sc_status status = write_entry(log, sc_buf_slice(&entry), why);
    log->size += status == SC_OK ? entry.size : 0;
    log->failed = status == SC_UNKNOWN;
    sc_buf_fini(&entry);
    return status;
}

enum sc_status sc_maplog_put_map(struct sc_maplog *log, const struct sc_cluster *cluster, char *why)
{
    struct sc_buf map = {0};
    sc_cluster_encode(cluster, &map);
    enum sc_status status = append(log, KIND_MAP, sc_buf_slice(&map), why);
    sc_buf_fini(&map);
    if (status == SC_OK) {
        sc_cluster_fini(&log->cluster);
        sc_cluster_copy(cluster, &log->cluster);
    }
    return status;
}

static void number_steering(const struct sc_cluster_steering *now, struct sc_change *change)
{
    struct sc_cluster_steering *to = &change->steering;
    to->balancing = (change->parts & SC_CHANGE_BALANCING) != 0 ? to->balancing : now->balancing;
    to->paused = (change->parts & SC_CHANGE_PAUSED) != 0 ? to->paused : now->paused;
    if ((change->parts & SC_CHANGE_RATE) == 0) {
        to->bytes_per_second = now->bytes_per_second;
    }
    change->parts = 0;
}

void sc_maplog_number(const struct sc_maplog *log, struct sc_change *change)
{
    if (change->kind == SC_CHANGE_BATCH && change->move == 0) {
        change->move = log->cluster.next_move;
    } else if (change->kind == SC_CHANGE_MOVED && change->epoch == 0) {
        change->epoch = log->cluster.epoch + 1;
    } else if (change->kind == SC_CHANGE_STEERING && change->parts != 0) {
        number_steering(&log->cluster.steering, change);
    }
}

enum sc_status sc_maplog_append(struct sc_maplog *log, const struct sc_change *change, char *why)
{
    struct sc_buf payload = {0};
    if (!sc_change_fits(change, &log->cluster)) {
        return sc_fail(why, SC_INTERNAL, "an entry of kind %d does not fit the map log",
                       (int)change->kind);
    }
    sc_change_encode(change, &payload);
    enum sc_status status = append(log, change->kind, sc_buf_slice(&payload), why);
    sc_buf_fini(&payload);
    if (status != SC_OK) {
        return status;
    }
    (void)sc_change_apply(change, &log->cluster);
    if (log->size > log->compact_above) {
        char trouble[SC_WHY_SIZE];
        if (compact(log, trouble) != SC_OK) {
            sc_log_error("the map log takes nothing more: %s", trouble);
        }
    }
    return SC_OK;
}
