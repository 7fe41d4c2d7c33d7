#include "coordinator/inventory.h"

#include "common/failpoint.h"
#include "common/jsontext.h"
#include "common/msg.h"
#include "common/slot.h"
#include "common/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define NAME "backup.json"
#define TEMPORARY "backup.json.tmp"
#define BEGUN "backup.begun"

/* ---- The text ---- */

static void put(struct sc_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends a short text. */
static void put(struct sc_buf *out, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sc_buf_append(out, text, (size_t)size);
}

static void put_time(struct sc_buf *out, uint64_t time_ms)
{
    char text[32] = "";
    struct tm parts;
    time_t seconds = (time_t)(time_ms / 1000);
    if (gmtime_r(&seconds, &parts) != NULL) {
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    put(out, "\"time\":\"%s\",\"time_ms\":%" PRIu64, text, time_ms);
}

static void put_map(struct sc_buf *out, struct sc_slice ranges)
{
    struct sc_mp mp = sc_mp(ranges);
    uint32_t count = 0;
    uint32_t members;
    uint64_t first, last, id;
    (void)sc_mp_array(&mp, &count);
    put(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        if (sc_mp_array(&mp, &members) && sc_mp_uint(&mp, &first) && sc_mp_uint(&mp, &last) &&
            sc_mp_uint(&mp, &id)) {
            put(out, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "", first, last, id);
        }
    }
    put(out, "]");
}

static void put_files(struct sc_buf *out, const struct sc_inventory_shard *shard)
{
    struct sc_mp files = shard->files;
    put(out, "[");
    for (uint32_t i = 0; i < shard->file_count; i++) {
        struct sc_msg_backup_file file = sc_msg_next_backup_file(&files);
        put(out, "%s{\"name\":", i > 0 ? "," : "");
        sc_jsontext_string(out, file.name);
        put(out, ",\"size\":%" PRIu64 ",\"xxh3\":\"%016" PRIx64 "\"}", file.size, file.checksum);
    }
    put(out, "]");
}

static void put_shard(struct sc_buf *out, const struct sc_inventory_shard *shard)
{
    put(out, "{\"id\":%" PRIu32 ",\"url\":", shard->id);
    sc_jsontext_string(out, shard->url);
    put(out, ",\"directory\":\"shard-%" PRIu32 "\",\"time_ms\":%" PRIu64 ",\"keys\":%" PRIu64,
        shard->id, shard->time_ms, shard->keys);
    put(out, ",\"version\":%" PRIu64 ",\"damaged_records\":%" PRIu64 ",\"files\":", shard->version,
        shard->damaged);
    put_files(out, shard);
    put(out, "}");
}

static void put_backup(struct sc_buf *out, const struct sc_inventory *inventory)
{
    put(out, "{\"format\":1,\"shardcask\":\"" SC_VERSION "\",\"cluster\":\"");
    for (size_t i = 0; i < 16; i++) {
        put(out, "%02x", inventory->cluster[i]);
    }
    put(out, "\",\"epoch\":%" PRIu64 ",", inventory->epoch);
    put_time(out, inventory->time_ms);
    put(out, ",\"slots\":%u,\"map\":", SC_SLOT_COUNT);
    put_map(out, inventory->ranges);
    put(out, ",\"shards\":[");
    for (size_t i = 0; i < inventory->shard_count; i++) {
        put(out, "%s", i > 0 ? "," : "");
        put_shard(out, &inventory->shards[i]);
    }
    put(out, "]}");
}

/* ---- The file ---- */

/* Whether a test wants the call at hand to fail. */
static bool fails(const char *failpoint)
{
    if (sc_failpoint_action(failpoint) != SC_FAILPOINT_FAIL) {
        return false;
    }
    errno = EIO;
    return true;
}

static enum sc_status fail_io(const char *doing, const char *dir, const char *name, char *why)
{
    return sc_fail(why, SC_IO, "cannot %s %s/%s: %s", doing, dir, name, strerror(errno));
}

/* Makes the creation or removal of an entry durable. */
static bool sync_dir(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return synced;
}

static enum sc_status prepare_label(int fd, const char *dir, struct sc_inventory_start *start,
                                    char *why);

enum sc_status sc_inventory_prepare(const char *dir, struct sc_inventory_start *start, char *why)
{
    struct stat info;
    start->resumed = false;
    start->made = mkdir(dir, 0700) == 0;
    if (!start->made && errno != EEXIST) {
        return sc_fail(why, SC_IO, "cannot create the directory %s: %s", dir, strerror(errno));
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return sc_fail(why, SC_IO, "cannot open the directory %s: %s", dir, strerror(errno));
    }
    enum sc_status status = SC_OK;
    if (fstatat(fd, NAME, &info, 0) == 0) {
        status =
            sc_fail(why, SC_BADREQUEST, "%s holds a backup already: give another directory", dir);
    } else if (start->made && !sync_dir(fd, "..")) {
        status =
            sc_fail(why, SC_IO, "cannot sync the directory %s is in: %s", dir, strerror(errno));
    } else {
        status = prepare_label(fd, dir, start, why);
    }
    (void)close(fd);
    sc_failpoint("backup_prepared");
    return status;
}

static bool write_all(int fd, struct sc_slice text)
{
    const uint8_t *at = text.data;
    size_t left = text.size;
    while (left > 0) {
        ssize_t written = write(fd, at, left);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        if (written > 0) {
            at += written;
            left -= (size_t)written;
        }
    }
    return true;
}

static enum sc_status write_temporary(int dir_fd, const char *dir, struct sc_slice text, char *why)
{
    int fd = fails("backup_list_open")
                 ? -1
                 : openat(dir_fd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail_io("create", dir, TEMPORARY, why);
    }
    enum sc_status status = SC_OK;
    if (fails("backup_list_write") || !write_all(fd, text)) {
        status = fail_io("write", dir, TEMPORARY, why);
    } else if (fails("backup_list_sync") || fsync(fd) != 0) {
        status = fail_io("sync", dir, TEMPORARY, why);
    }
    if (close(fd) != 0 && status == SC_OK) {
        status = fail_io("close", dir, TEMPORARY, why);
    }
    return status;
}

/* Puts the text into the file. What is there on failure is removed. */
static enum sc_status replace(int dir_fd, const char *dir, struct sc_slice text, char *why)
{
    enum sc_status status = write_temporary(dir_fd, dir, text, why);
    sc_failpoint("backup_list_written");
    if (status == SC_OK &&
        (fails("backup_list_rename") || renameat(dir_fd, TEMPORARY, dir_fd, NAME) != 0)) {
        status = fail_io("rename", dir, TEMPORARY, why);
    }
    if (status != SC_OK) {
        (void)unlinkat(dir_fd, TEMPORARY, 0);
        return status;
    }
    sc_failpoint("backup_list_renamed");
    if (fails("backup_list_sync_dir") || !sync_dir(dir_fd, ".")) {
        status = fail_io("sync", dir, "", why);
        (void)unlinkat(dir_fd, NAME, 0);
    }
    return status;
}

enum sc_status sc_inventory_write(const char *dir, const struct sc_inventory *inventory, char *why)
{
    static const char head[] = "{\"backup\":";
    struct sc_buf text = {0};
    sc_buf_append(&text, head, sizeof head - 1);
    put_backup(&text, inventory);
    uint64_t checksum = XXH3_64bits(text.data + sizeof head - 1, text.size - (sizeof head - 1));
    put(&text, ",\"xxh3\":\"%016" PRIx64 "\"}\n", checksum);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum sc_status status = dir_fd >= 0 ? replace(dir_fd, dir, sc_buf_slice(&text), why)
                                        : fail_io("open", dir, "", why);
    if (dir_fd >= 0) {
        if (status == SC_OK) {
            (void)unlinkat(dir_fd, BEGUN,
                           0); /* else it says nothing any more: backup.json counts */
        }
        (void)close(dir_fd);
    }
    sc_buf_fini(&text);
    return status;
}

/* ---- What was begun ---- */

static bool read_label(int dir_fd, uint64_t *label)
{
    char text[18] = "";
    char *end = text;
    int fd = openat(dir_fd, BEGUN, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (got == 17 && text[16] == '\n') {
        *label = strtoull(text, &end, 16);
    }
    return end == text + 16 && *label != 0;
}

/* Goes on with the label that is there, or writes one. */
static enum sc_status prepare_label(int fd, const char *dir, struct sc_inventory_start *start,
                                    char *why)
{
    char text[18];
    start->resumed = read_label(fd, &start->label);
    if (start->resumed) {
        return SC_OK;
    }
    (void)snprintf(text, sizeof text, "%016" PRIx64 "\n", start->label);
    enum sc_status status = write_temporary(fd, dir, sc_slice_str(text), why);
    if (status == SC_OK && (renameat(fd, TEMPORARY, fd, BEGUN) != 0 || !sync_dir(fd, "."))) {
        status = fail_io("write", dir, BEGUN, why);
    }
    if (status != SC_OK) {
        (void)unlinkat(fd, TEMPORARY, 0);
        (void)unlinkat(fd, BEGUN, 0);
    }
    return status;
}

/* Whether some shard left its part. */
static bool any_part(int dir_fd)
{
    bool any = false;
    struct dirent *entry;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (list == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return true; /* who knows */
    }
    while ((entry = readdir(list)) != NULL) {
        any = any || strncmp(entry->d_name, "shard-", 6) == 0;
    }
    (void)closedir(list);
    return any;
}

void sc_inventory_abandon(const char *dir, const struct sc_inventory_start *start)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        if (!any_part(fd)) {
            (void)unlinkat(fd, BEGUN, 0);
        }
        (void)close(fd);
    }
    if (start->made || start->resumed) {
        (void)rmdir(dir); /* unless something is left in it */
    }
}
