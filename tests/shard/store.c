#include "tests/shard/store.h"

#include "common/bytes.h"
#include "shard/manifest.h"
#include "shard/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <xxhash.h>

void temporary_dir(char dir[256])
{
    /* In memory if that can be had: these tests open and close stores by the thousand, and what
     * they are about does not depend on how long an fsync takes. */
    const char *base = getenv("TMPDIR");
    if (base == NULL) {
        base = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    }
    (void)snprintf(dir, 256, "%s/sc-test-XXXXXX", base);
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    temporary_dir(f->dir);
    f->options = (struct sc_bitcask_options){
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = SC_VALUE_MAX_DEFAULT,
        .sync_ms = SC_BITCASK_SYNC_NEVER,
    };
    f->events = calloc(EVENTS_MAX, sizeof *f->events);
}

void fixture_fini(struct fixture *f)
{
    if (f->store != NULL) {
        (void)sc_bitcask_close(f->store);
    }
    free(f->events);
    dir_remove(f->dir);
}

static void on_event(void *arg, const struct sc_bitcask_event *event)
{
    struct fixture *f = arg;
    if (f->event_count < EVENTS_MAX) {
        f->events[f->event_count++] = *event;
    }
}

enum sc_status fixture_try_open(struct fixture *f)
{
    f->event_count = 0;
    enum sc_status status = sc_bitcask_open(f->dir, &f->options, on_event, f, &f->store, f->why);
    if (status != SC_OK) {
        f->store = NULL;
    }
    return status;
}

void fixture_open(struct fixture *f)
{
    enum sc_status status = fixture_try_open(f);
    ck_assert_msg(status == SC_OK, "open: %d %s", status, f->why);
}

void fixture_close(struct fixture *f)
{
    ck_assert_int_eq(sc_bitcask_close(f->store), SC_OK);
    f->store = NULL;
}

void fixture_kill(struct fixture *f)
{
    /* The files as they are now, put back when the close has done its work. */
    char copy[300];
    (void)snprintf(copy, sizeof copy, "%s.kill", f->dir);
    dir_copy(f->dir, copy);
    (void)sc_bitcask_close(f->store);
    f->store = NULL;
    dir_remove(f->dir);
    ck_assert_int_eq(rename(copy, f->dir), 0);
}

void fixture_reopen(struct fixture *f)
{
    fixture_close(f);
    fixture_open(f);
}

size_t fixture_events(const struct fixture *f, enum sc_bitcask_event_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < f->event_count; i++) {
        count += f->events[i].kind == kind ? 1 : 0;
    }
    return count;
}

void commit(struct fixture *f)
{
    ck_assert_int_eq(sc_bitcask_commit(f->store, false), SC_OK);
    ck_assert_uint_ge(sc_bitcask_committed(f->store), f->position);
}

uint64_t put(struct fixture *f, const char *key, const char *value)
{
    uint64_t version = 0;
    const struct sc_bitcask_write options = {0};
    struct sc_slice k = sc_slice_str(key);
    enum sc_status status = sc_bitcask_put(f->store, k, sc_slot_hash(k), sc_slice_str(value),
                                           &options, &version, &f->position, f->why);
    ck_assert_msg(status == SC_OK, "put %s: %d %s", key, status, f->why);
    commit(f);
    return version;
}

bool del(struct fixture *f, const char *key)
{
    bool existed = false;
    const struct sc_bitcask_write options = {0};
    struct sc_slice k = sc_slice_str(key);
    enum sc_status status =
        sc_bitcask_del(f->store, k, sc_slot_hash(k), &options, &existed, &f->position, f->why);
    ck_assert_msg(status == SC_OK, "del %s: %d %s", key, status, f->why);
    commit(f);
    return existed;
}

enum sc_status get(struct fixture *f, const char *key, const char **value)
{
    static struct sc_buf buf;
    struct sc_slice k = sc_slice_str(key);
    buf.size = 0;
    enum sc_status status =
        sc_bitcask_get(f->store, k, sc_slot_hash(k), &buf, &f->position, f->why);
    sc_buf_append(&buf, "", 1);
    *value = status == SC_OK ? (const char *)buf.data : NULL;
    return status;
}

void expect(struct fixture *f, const char *key, const char *value)
{
    const char *found;
    enum sc_status status = get(f, key, &found);
    if (value == NULL) {
        ck_assert_msg(status == SC_NOTFOUND, "%s should be absent: %d %s", key, status, f->why);
    } else {
        ck_assert_msg(status == SC_OK, "%s should be there: %d %s", key, status, f->why);
        ck_assert_str_eq(found, value);
    }
}

/* ---- Files ---- */

static int only_data(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && strcmp(dot, ".data") == 0;
}

size_t data_files(const char *dir)
{
    struct dirent **names;
    int count = scandir(dir, &names, only_data, alphasort);
    ck_assert_int_ge(count, 0);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    return (size_t)count;
}

void data_path(const char *dir, size_t index, char path[512])
{
    struct dirent **names;
    int count = scandir(dir, &names, only_data, alphasort);
    ck_assert_int_gt(count, (int)index);
    (void)snprintf(path, 512, "%s/%s", dir, names[index]->d_name);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
}

struct sc_buf file_read(const char *path)
{
    struct sc_buf bytes = {0};
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ssize_t got;
    while ((got = read(fd, sc_buf_reserve(&bytes, 1 << 16), 1 << 16)) > 0) {
        bytes.size += (size_t)got;
    }
    ck_assert_int_eq(got, 0);
    (void)close(fd);
    return bytes;
}

void file_write(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    size_t done = 0;
    while (done < size) {
        ssize_t written = write(fd, (const uint8_t *)data + done, size - done);
        ck_assert_int_gt(written, 0);
        done += (size_t)written;
    }
    (void)close(fd);
}

void file_flip(const char *path, uint64_t offset, uint8_t bits)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= bits;
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
    (void)close(fd);
}

static void for_each_file(const char *dir,
                          void (*visit)(const char *path, const char *name, const char *to),
                          const char *to)
{
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    struct dirent *entry;
    while ((entry = readdir(d)) != NULL) {
        char path[600];
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            visit(path, entry->d_name, to);
        }
    }
    (void)closedir(d);
}

static bool is_dir(const char *path)
{
    struct stat stat_;
    return lstat(path, &stat_) == 0 && S_ISDIR(stat_.st_mode);
}

static void copy_file(const char *path, const char *name, const char *to)
{
    char target[600];
    (void)snprintf(target, sizeof target, "%s/%s", to, name);
    if (is_dir(path)) { /* quarantine; there is nothing deeper */
        dir_copy(path, target);
        return;
    }
    struct sc_buf bytes = file_read(path);
    file_write(target, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
}

void dir_copy(const char *from, const char *to)
{
    ck_assert_int_eq(mkdir(to, 0700), 0);
    for_each_file(from, copy_file, to);
}

static void remove_file(const char *path, const char *name, const char *to)
{
    (void)name;
    (void)to;
    if (is_dir(path)) {
        dir_remove(path);
    } else {
        (void)unlink(path);
    }
}

void dir_remove(const char *dir)
{
    for_each_file(dir, remove_file, NULL);
    (void)rmdir(dir);
}

void quiet(void)
{
    int fd = open("/dev/null", O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    (void)close(fd);
}

/* The newest whole copy in DURABLE; its size is 0 when there is none. */
static struct sc_buf newest_mark(const char *dir)
{
    enum { SIZE = 80 };
    char path[512];
    (void)snprintf(path, sizeof path, "%s/DURABLE", dir);
    struct sc_buf file = file_read(path);
    struct sc_buf newest = {0};
    for (size_t at = 0; at + SIZE <= file.size; at += SC_DURABLE_SECOND) {
        const uint8_t *copy = file.data + at;
        if (sc_le64_get(copy + 72) == XXH3_64bits(copy, 72) &&
            (newest.size == 0 || sc_le64_get(copy + 64) > sc_le64_get(newest.data + 64))) {
            newest.size = 0;
            sc_buf_append(&newest, copy, SIZE);
        }
    }
    sc_buf_fini(&file);
    return newest;
}

struct sc_durable_mark synced_mark(const char *dir)
{
    struct sc_buf mark = newest_mark(dir);
    struct sc_durable_mark synced = {0};
    if (mark.size > 0) {
        synced = (struct sc_durable_mark){sc_le64_get(mark.data + 16), sc_le64_get(mark.data + 24)};
    }
    sc_buf_fini(&mark);
    return synced;
}

void forget_boot(const char *dir, uint64_t lag)
{
    char path[512];
    struct sc_buf mark = newest_mark(dir);
    ck_assert_uint_gt(mark.size, 0);
    mark.data[48] ^= 0xff;
    sc_le64_put(mark.data + 24, sc_le64_get(mark.data + 24) - lag);
    sc_le64_put(mark.data + 72, XXH3_64bits(mark.data, 72));
    (void)snprintf(path, sizeof path, "%s/DURABLE", dir);
    file_write(path, mark.data, mark.size);
    sc_buf_fini(&mark);
}

static void cut_file(const char *dir, uint64_t number, uint64_t safe,
                     uint64_t (*dice)(uint64_t limit))
{
    char path[512];
    struct stat status;
    (void)snprintf(path, sizeof path, "%s/%010llu.data", dir, (unsigned long long)number);
    if (stat(path, &status) == 0 && (uint64_t)status.st_size > safe) {
        uint64_t more = (uint64_t)status.st_size - safe;
        ck_assert_int_eq(truncate(path, (off_t)(safe + dice(more + 1))), 0);
    }
}

void lose_power(const char *dir, uint64_t (*dice)(uint64_t limit))
{
    char why[SC_WHY_SIZE];
    struct sc_files files;
    struct sc_manifest *manifest;
    bool damaged;
    struct sc_durable_mark mark = synced_mark(dir);
    ck_assert_int_eq(sc_files_open(&files, dir, true, why), SC_OK);
    ck_assert_int_eq(sc_manifest_load(&files, &manifest, &damaged, why), SC_OK);
    for (size_t i = 0; i < sc_manifest_files(manifest); i++) {
        struct sc_manifest_file file = sc_manifest_file(manifest, i);
        if (file.settled_size == 0 && file.number >= mark.file) {
            cut_file(dir, file.number,
                     file.number == mark.file ? mark.offset : SC_SEGMENT_HEADER_SIZE, dice);
        }
    }
    sc_manifest_free(manifest);
    sc_files_close(&files);
    if (mark.file > 0) {
        forget_boot(dir, 0);
    }
}
