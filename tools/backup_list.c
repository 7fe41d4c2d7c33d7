#include "tools/backup_list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "client/json.h"
#include "common/buf.h"
#include "common/mp.h"
#include "tools/cli_figures.h"

#define NAME "backup.json"
#define HEAD "{\"backup\":"
#define TAIL_SIZE (sizeof ",\"xxh3\":\"0123456789abcdef\"}\n" - 1)
#define LIST_SIZE_MAX (UINT64_C(1) << 30)
#define SHARDS_MAX 100000u
#define STEP_SIZE ((size_t)1 << 20)

static char *copy_text(struct sc_slice text)
{
    char *copy = sc_alloc(text.size + 1);
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = '\0';
    return copy;
}

static char *join(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = sc_alloc(size);
    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

void sc_backup_list_fini(struct sc_backup_list *list)
{
    for (size_t i = 0; i < list->shard_count; i++) {
        struct sc_backup_list_shard *shard = &list->shards[i];
        for (size_t f = 0; f < shard->file_count; f++) {
            free(shard->files[f].name);
        }
        free(shard->files);
        free(shard->path);
    }
    free(list->shards);
    free(list->dir);
    *list = (struct sc_backup_list){0};
}

/* ---- Members of maps ---- */

static bool find(struct sc_slice map, const char *name, struct sc_mp *value)
{
    struct sc_slice raw;
    if (!sc_cli_figures_find(map, name, &raw)) {
        return false;
    }
    *value = sc_mp(raw);
    return true;
}

static bool get_number(struct sc_slice map, const char *name, uint64_t *number)
{
    struct sc_mp mp;
    return find(map, name, &mp) && sc_mp_uint(&mp, number);
}

static bool get_text(struct sc_slice map, const char *name, struct sc_slice *text)
{
    struct sc_mp mp;
    return find(map, name, &mp) && sc_mp_str(&mp, text);
}

/* A text that fits into `room` bytes, its end included. */
static bool get_short(struct sc_slice map, const char *name, char *room, size_t size)
{
    struct sc_slice text;
    if (!get_text(map, name, &text) || text.size >= size) {
        return false;
    }
    if (text.size > 0) {
        memcpy(room, text.data, text.size);
    }
    room[text.size] = '\0';
    return true;
}

static bool read_hex(struct sc_slice text, uint64_t *number)
{
    char digits[17] = "";
    char *end;
    if (text.size != 16) {
        return false;
    }
    memcpy(digits, text.data, 16);
    *number = strtoull(digits, &end, 16);
    return end == digits + 16 && digits[0] != '-' && digits[0] != '+' && digits[0] != ' ';
}

/* ---- The list ---- */

/* A name of an entry, and no way to anywhere else. */
static bool is_plain(struct sc_slice name)
{
    const char *text = name.data;
    return name.size > 0 && name.size < 64 && text[0] != '.' &&
           memchr(text, '/', name.size) == NULL && memchr(text, '\0', name.size) == NULL;
}

static bool read_file(struct sc_slice map, struct sc_backup_list_file *file)
{
    struct sc_slice name;
    struct sc_slice checksum;
    if (!get_text(map, "name", &name) || !is_plain(name) || !get_number(map, "size", &file->size) ||
        !get_text(map, "xxh3", &checksum) || !read_hex(checksum, &file->checksum)) {
        return false;
    }
    file->name = copy_text(name);
    return true;
}

static bool read_files(struct sc_mp mp, struct sc_backup_list_shard *shard, uint64_t *bytes)
{
    uint32_t count = 0;
    if (!sc_mp_array(&mp, &count)) {
        return false;
    }
    shard->files = sc_calloc(count + 1, sizeof *shard->files);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice map;
        if (!sc_mp_skip(&mp, &map) || !read_file(map, &shard->files[i])) {
            return false;
        }
        shard->file_count++;
        *bytes += shard->files[i].size;
    }
    return true;
}

static bool read_shard(struct sc_slice map, const char *dir, struct sc_backup_list_shard *shard,
                       uint64_t *bytes)
{
    struct sc_slice directory;
    struct sc_mp files;
    uint64_t id = 0;
    if (!get_number(map, "id", &id) || id == 0 || id > UINT32_MAX ||
        !get_text(map, "directory", &directory) || !is_plain(directory) ||
        !get_number(map, "keys", &shard->keys) || !find(map, "files", &files)) {
        return false;
    }
    char *name = copy_text(directory);
    shard->id = (uint32_t)id;
    shard->path = join(dir, name);
    free(name);
    return read_files(files, shard, bytes);
}

static bool read_shards(struct sc_mp mp, struct sc_backup_list *list)
{
    uint32_t count = 0;
    if (!sc_mp_array(&mp, &count) || count > SHARDS_MAX) {
        return false;
    }
    list->shards = sc_calloc(count + 1, sizeof *list->shards);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice map;
        if (!sc_mp_skip(&mp, &map)) {
            return false;
        }
        list->shard_count++;
        if (!read_shard(map, list->dir, &list->shards[i], &list->bytes)) {
            return false;
        }
        list->keys += list->shards[i].keys;
    }
    return true;
}

static bool has_shard(const struct sc_backup_list *list, uint64_t id)
{
    for (size_t i = 0; i < list->shard_count; i++) {
        if (list->shards[i].id == id) {
            return true;
        }
    }
    return false;
}

/* Every slot has exactly one owner, whose directory is there. */
static bool read_map(struct sc_mp mp, struct sc_backup_list *list)
{
    uint32_t count = 0;
    uint64_t next = 0;
    if (!sc_mp_array(&mp, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t members = 0;
        uint64_t first, last, id;
        if (!sc_mp_array(&mp, &members) || members != 3 || !sc_mp_uint(&mp, &first) ||
            !sc_mp_uint(&mp, &last) || !sc_mp_uint(&mp, &id) || first != next || last < first ||
            last >= SC_SLOT_COUNT || !has_shard(list, id)) {
            return false;
        }
        for (next = first; next <= last; next++) {
            list->owner[next] = (uint32_t)id;
        }
    }
    return next == SC_SLOT_COUNT;
}

static bool read_backup(struct sc_slice map, struct sc_backup_list *list)
{
    struct sc_mp shards;
    struct sc_mp ranges;
    return get_short(map, "cluster", list->cluster, sizeof list->cluster) &&
           get_number(map, "epoch", &list->epoch) &&
           get_short(map, "time", list->time, sizeof list->time) && find(map, "shards", &shards) &&
           read_shards(shards, list) && find(map, "map", &ranges) && read_map(ranges, list);
}

/* Checks the text's own checksum and finds what it covers. */
static bool check_text(struct sc_slice text, struct sc_slice *backup)
{
    const char *start = text.data;
    size_t head_size = sizeof HEAD - 1;
    char tail[TAIL_SIZE + 1];
    if (text.size < head_size + TAIL_SIZE || memcmp(start, HEAD, head_size) != 0) {
        return false;
    }
    *backup = sc_slice(start + head_size, text.size - head_size - TAIL_SIZE);
    snprintf(tail, sizeof tail, ",\"xxh3\":\"%016" PRIx64 "\"}\n",
             (uint64_t)XXH3_64bits(backup->data, backup->size));
    return memcmp(start + text.size - TAIL_SIZE, tail, TAIL_SIZE) == 0;
}

static enum sc_status read_text(struct sc_slice text, struct sc_backup_list *list, char *why)
{
    struct sc_slice backup;
    struct sc_buf packed = {0};
    uint64_t format = 0;
    char trouble[SC_WHY_SIZE];
    enum sc_status status = SC_OK;
    if (!check_text(text, &backup) || sc_json_read(backup, &packed, trouble) != SC_OK) {
        status = sc_fail(why, SC_CORRUPT, "%s/" NAME " is damaged", list->dir);
    } else if (!get_number(sc_buf_slice(&packed), "format", &format) || format != 1) {
        status = sc_fail(why, SC_CORRUPT,
                         "%s/" NAME " is of a format that this program does not know", list->dir);
    } else if (!read_backup(sc_buf_slice(&packed), list)) {
        status = sc_fail(why, SC_CORRUPT, "%s/" NAME " makes no sense", list->dir);
    }
    sc_buf_fini(&packed);
    return status;
}

/* Reads a whole file that is not absurdly large. */
static enum sc_status slurp(const char *path, struct sc_buf *text, char *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sc_fail(why, errno == ENOENT ? SC_NOTFOUND : SC_IO, "cannot open %s: %s", path,
                       strerror(errno));
    }
    ssize_t got = 1;
    while (got > 0 && text->size <= LIST_SIZE_MAX) {
        got = read(fd, sc_buf_reserve(text, STEP_SIZE), STEP_SIZE);
        got = got < 0 && errno == EINTR ? 1 : got;
        text->size += got > 0 ? (size_t)got : 0;
    }
    enum sc_status status = SC_OK;
    if (got < 0) {
        status = sc_fail(why, SC_IO, "cannot read %s: %s", path, strerror(errno));
    } else if (text->size > LIST_SIZE_MAX) {
        status = sc_fail(why, SC_CORRUPT, "%s is too large to be the list of a backup", path);
    }
    close(fd);
    return status;
}

enum sc_status sc_backup_list_read(const char *dir, struct sc_backup_list *list, char *why)
{
    struct sc_buf text = {0};
    *list = (struct sc_backup_list){.dir = copy_text(sc_slice_str(dir))};
    char *path = join(dir, NAME);
    enum sc_status status = slurp(path, &text, why);
    if (status == SC_NOTFOUND) {
        sc_fail(why, status, "%s is no backup, or one that did not become complete: there is no %s",
                dir, path);
    } else if (status == SC_OK) {
        status = read_text(sc_buf_slice(&text), list, why);
    }
    sc_buf_fini(&text);
    free(path);
    if (status != SC_OK) {
        sc_backup_list_fini(list);
    }
    return status;
}

/* ---- The files ---- */

/* Reads a file to its end. SC_OK with its size and checksum. */
static enum sc_status read_through(int fd, const struct sc_backup_list_watcher *watcher,
                                   uint8_t *step, uint64_t *size, uint64_t *checksum)
{
    XXH3_state_t *state = XXH3_createState();
    enum sc_status status = SC_OK;
    *size = 0;
    if (state == NULL) {
        errno = ENOMEM;
        return SC_IO;
    }
    (void)XXH3_64bits_reset(state);
    for (;;) {
        ssize_t got = read(fd, step, STEP_SIZE);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            status = got < 0 ? SC_IO : status;
            break;
        }
        (void)XXH3_64bits_update(state, step, (size_t)got);
        *size += (uint64_t)got;
        if (!watcher->passed(watcher->arg, (uint64_t)got)) {
            status = SC_UNAVAILABLE;
            break;
        }
    }
    *checksum = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return status;
}

static enum sc_status verify_file(const char *path, const struct sc_backup_list_file *file,
                                  const struct sc_backup_list_watcher *watcher, uint8_t *step)
{
    char why[SC_WHY_SIZE] = "";
    uint64_t size = 0;
    uint64_t checksum = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum sc_status status = fd >= 0 ? read_through(fd, watcher, step, &size, &checksum) : SC_IO;
    if (status == SC_IO) {
        sc_fail(why, status, "it cannot be read: %s", strerror(errno));
    } else if (status == SC_OK && size != file->size) {
        status = sc_fail(why, SC_CORRUPT, "it has %" PRIu64 " bytes and should have %" PRIu64, size,
                         file->size);
    } else if (status == SC_OK && checksum != file->checksum) {
        status = sc_fail(why, SC_CORRUPT, "its checksum is wrong");
    }
    if (status == SC_IO || status == SC_CORRUPT) {
        watcher->wrong(watcher->arg, path, why);
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

enum sc_status sc_backup_list_verify(const struct sc_backup_list *list,
                                     const struct sc_backup_list_watcher *watcher)
{
    uint8_t *step = sc_alloc(STEP_SIZE);
    enum sc_status worst = SC_OK;
    for (size_t i = 0; i < list->shard_count && worst != SC_UNAVAILABLE; i++) {
        const struct sc_backup_list_shard *shard = &list->shards[i];
        for (size_t f = 0; f < shard->file_count && worst != SC_UNAVAILABLE; f++) {
            char *path = join(shard->path, shard->files[f].name);
            enum sc_status status = verify_file(path, &shard->files[f], watcher, step);
            if (status != SC_OK) {
                worst = status == SC_UNAVAILABLE ? status : SC_CORRUPT;
            }
            free(path);
        }
    }
    free(step);
    return worst;
}
