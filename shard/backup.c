#include "shard/backup.h"

#include "common/failpoint.h"
#include "shard/bitcask_impl.h"
#include "shard/diskfile.h"
#include "shard/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define STEP_SIZE ((size_t)1 << 20) /* read and hashed at a time */
#define CUTS_MAX 1000u

/* A data file at the cut. */
struct part {
    uint64_t number;
    uint64_t salt;
    uint64_t clean;
    uint64_t size; /* of what was committed */
    bool sealed; /* and nothing more will come */
    bool settled; /* ... and it is synced */
};

struct sc_backup {
    struct sc_bitcask *store; /* kept */
    struct sc_backup_figures figures; /* guarded by the lock of the store */

    struct sc_label label;

    /* of the run */
    const struct sc_backup_host *host;
    struct sc_files parent; /* path and dir_fd only, like the next */
    struct sc_files dir;
    bool made_parent, made_dir;
    struct sc_reap_pin pin;
    bool pinned;
    struct part *parts;
    size_t part_count;
    struct sc_manifest *manifest; /* of the backup */
    uint8_t owned[SC_SLOT_COUNT / 8]; /* as it says */
    struct sc_backup_file *files; /* that are there, complete or not */
    size_t count;
    uint8_t *step;
};

struct sc_backup *sc_backup_alloc(struct sc_bitcask *store)
{
    struct sc_backup *backup = sc_calloc(1, sizeof *backup);
    backup->store = store;
    backup->parent.dir_fd = -1;
    backup->dir.dir_fd = -1;
    return backup;
}

void sc_backup_label(struct sc_backup *backup, uint64_t label)
{
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(backup->store, &identity);
    memcpy(backup->label.cluster, identity.cluster, sizeof identity.cluster);
    backup->label.shard_id = identity.shard_id;
    backup->label.label = label;
}

void sc_backup_free(struct sc_backup *backup)
{
    if (backup != NULL) {
        assert(!backup->pinned && backup->dir.dir_fd < 0);
        free(backup->parts);
        free(backup->files);
        free(backup);
    }
}

void sc_backup_figures(const struct sc_backup *backup, struct sc_backup_figures *figures)
{
    *figures = backup->figures;
}

const struct sc_backup_file *sc_backup_files(const struct sc_backup *backup, size_t *count)
{
    *count = backup->count;
    return backup->files;
}

static void lock(const struct sc_backup *backup)
{
    backup->host->lock(backup->host->arg);
}

static void unlock(const struct sc_backup *backup)
{
    backup->host->unlock(backup->host->arg);
}

/* So many bytes more are going to be read. */
static void expect_bytes(struct sc_backup *backup, uint64_t bytes)
{
    lock(backup);
    backup->figures.bytes += bytes;
    unlock(backup);
}

static enum sc_status proceed(struct sc_backup *backup, uint64_t bytes, char *why)
{
    lock(backup);
    backup->figures.bytes_done += bytes;
    unlock(backup);
    return backup->host->proceed(backup->host->arg, bytes)
               ? SC_OK
               : sc_fail(why, SC_UNAVAILABLE, "the backup was told to stop");
}

/* ---- Directories ---- */

/* The path of `name` in `parent`, or of that itself. */
static char *path_of(const char *parent, const char *name)
{
    size_t size = strlen(parent) + (name != NULL ? strlen(name) : 0) + 2;
    char *path = sc_alloc(size);
    (void)snprintf(path, size, "%s%s%s", parent, name != NULL ? "/" : "", name != NULL ? name : "");
    return path;
}

/* Opens a directory that is there. */
static enum sc_status open_dir(struct sc_files *dir, char *path, char *why)
{
    dir->path = path;
    dir->lock_fd = -1;
    dir->dir_fd = sc_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    return dir->dir_fd >= 0
               ? SC_OK
               : sc_fail(why, SC_IO, "cannot open the directory %s: %s", path, strerror(errno));
}

static void close_dir(struct sc_files *dir)
{
    if (dir->dir_fd >= 0) {
        (void)close(dir->dir_fd);
    }
    free(dir->path);
    *dir = (struct sc_files){.dir_fd = -1};
}

static enum sc_status make_dirs(struct sc_backup *backup, const char *parent, const char *name,
                                char *why)
{
    backup->made_parent = sc_io_mkdir(AT_FDCWD, parent) == 0;
    if (!backup->made_parent && errno != EEXIST) {
        return sc_fail(why, SC_IO, "cannot create the directory %s: %s", parent, strerror(errno));
    }
    enum sc_status status = open_dir(&backup->parent, path_of(parent, NULL), why);
    if (status != SC_OK) {
        return status;
    }
    backup->made_dir = sc_io_mkdir(backup->parent.dir_fd, name) == 0;
    if (!backup->made_dir && errno == EEXIST) {
        backup->made_dir = sc_label_reclaim(&backup->label, &backup->parent, name) &&
                           sc_io_mkdir(backup->parent.dir_fd, name) == 0;
        errno = EEXIST;
    }
    if (!backup->made_dir && errno == EEXIST) {
        return sc_fail(why, SC_BADREQUEST,
                       "%s/%s is there already: give another directory, or remove that", parent,
                       name);
    }
    if (!backup->made_dir) {
        return sc_fail(why, SC_IO, "cannot create the directory %s/%s: %s", parent, name,
                       strerror(errno));
    }
    sc_failpoint("backup_dir_made");
    return open_dir(&backup->dir, path_of(parent, name), why);
}

/* Removes what was made. */
static void remove_all(struct sc_backup *backup, const char *parent, const char *name)
{
    if (backup->dir.dir_fd >= 0) {
        (void)sc_io_unlink(backup->dir.dir_fd, SC_FILES_MANIFEST); /* first: it looks complete */
    }
    for (size_t i = backup->count; i > 0 && backup->dir.dir_fd >= 0; i--) { /* the label last */
        (void)sc_io_unlink(backup->dir.dir_fd, backup->files[i - 1].name);
    }
    backup->count = 0;
    if (backup->made_dir) {
        (void)unlinkat(backup->parent.dir_fd, name, AT_REMOVEDIR);
    }
    if (backup->made_parent) {
        (void)rmdir(parent); /* unless there is something else in it by now */
    }
}

void sc_backup_discard(struct sc_backup *backup, const char *parent, const char *name)
{
    char why[SC_WHY_SIZE];
    if (open_dir(&backup->parent, path_of(parent, NULL), why) == SC_OK &&
        open_dir(&backup->dir, path_of(parent, name), why) == SC_OK) {
        remove_all(backup, parent, name);
    }
    close_dir(&backup->dir);
    close_dir(&backup->parent);
}

/* ---- The cut ---- */

/* Enters what a data file has at this moment. False: it is too new for the copy of the manifest. */
static bool cut_segment(struct sc_backup *backup, const struct sc_segment *segment)
{
    struct sc_manifest_file file;
    uint64_t size = sc_bitcask_committed_size(backup->store, segment);
    if (size <= SC_SEGMENT_HEADER_SIZE) {
        return true; /* there is nothing in it yet */
    }
    if (!sc_manifest_find_file(backup->manifest, segment->number, &file)) {
        return segment->retired; /* merged away, or not yet in the place of what is merged */
    }
    backup->parts[backup->part_count++] = (struct part){
        .number = segment->number,
        .salt = segment->salt,
        .clean = file.clean,
        .size = size,
        .sealed = segment->sealed && size == segment->size,
        .settled = segment->settled,
    };
    backup->figures.bytes += size;
    return true;
}

/* Which slots' keys count: all of them in a store that belongs to no cluster. */
static void find_owned(struct sc_backup *backup)
{
    struct sc_manifest_identity identity;
    sc_manifest_identity(backup->manifest, &identity);
    memset(backup->owned, 0, sizeof backup->owned);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        struct sc_manifest_slot state;
        sc_manifest_slot(backup->manifest, slot, &state);
        if (state.state == SC_MANIFEST_OWNED || !identity.adopted) {
            backup->owned[slot / 8] |= (uint8_t)(1u << (slot % 8));
        }
    }
}

static uint64_t count_keys(const struct sc_backup *backup)
{
    uint64_t count = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        count += sc_bitcask_bit(backup->owned, slot)
                     ? sc_keydir_slot_count(backup->store->keydir, slot)
                     : 0;
    }
    return count;
}

/* One moment, with the lock. False: see cut_segment. */
static bool cut_locked(struct sc_backup *backup)
{
    struct sc_bitcask *store = backup->store;
    struct sc_backup_figures *figures = &backup->figures;
    free(backup->parts);
    backup->parts = sc_calloc(store->segment_count + 1, sizeof *backup->parts);
    backup->part_count = 0;
    figures->bytes = 0;
    for (size_t i = 0; i < store->segment_count; i++) {
        if (store->segments[i] != NULL && !cut_segment(backup, store->segments[i])) {
            return false;
        }
    }
    figures->cut = true;
    figures->time_ms = sc_clock_now_ms(&store->clock);
    figures->keys = count_keys(backup);
    figures->version = store->clock.last;
    figures->damaged = store->damages.count + store->damages.overflow;
    return true;
}

/* The manifest is copied without the lock, since its own may be held while it is written. What it
 * lists stays, since the pin is set before; when the log has gone on to a new file meanwhile, it is
 * copied anew. */
static enum sc_status cut(struct sc_backup *backup, char *why)
{
    struct sc_bitcask *store = backup->store;
    lock(backup);
    sc_reap_pin(store, &backup->pin);
    backup->pinned = true;
    unlock(backup);
    for (unsigned i = 0; i < CUTS_MAX; i++) {
        enum sc_status status =
            sc_manifest_copy(store->manifest, &backup->dir, &backup->manifest, why);
        if (status != SC_OK) {
            return status;
        }
        find_owned(backup);
        lock(backup);
        bool done = cut_locked(backup);
        unlock(backup);
        if (done) {
            sc_failpoint("backup_cut");
            return SC_OK;
        }
        sc_manifest_free(backup->manifest);
        backup->manifest = NULL;
    }
    return sc_fail(why, SC_IO, "%s begins data files faster than they can be listed",
                   store->files.path);
}

static void unpin(struct sc_backup *backup)
{
    if (backup->pinned) {
        lock(backup);
        sc_reap_unpin(backup->store, &backup->pin);
        unlock(backup);
        backup->pinned = false;
    }
}

/* ---- Files ---- */

static struct sc_backup_file *add_file(struct sc_backup *backup, const char *name, uint64_t size)
{
    backup->files = sc_realloc(backup->files, (backup->count + 1) * sizeof *backup->files);
    struct sc_backup_file *file = &backup->files[backup->count++];
    *file = (struct sc_backup_file){.size = size};
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    return file;
}

/* Whether a file of the backup has this size. */
static bool has_size(const struct sc_backup *backup, const char *name, uint64_t size)
{
    struct stat info;
    return fstatat(backup->dir.dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           (uint64_t)info.st_size == size;
}

/* Links a data file. False: that is not possible here, or it has something behind its end. */
static bool link_file(struct sc_backup *backup, const struct part *part, const char *name)
{
    const struct sc_files *from = &backup->store->files;
    if (!part->sealed || sc_io_link(from->dir_fd, name, backup->dir.dir_fd, name) != 0) {
        return false;
    }
    if (!has_size(backup, name, part->size)) {
        (void)sc_io_unlink(backup->dir.dir_fd, name);
        return false;
    }
    add_file(backup, name, part->size)->linked = true;
    return true;
}

/* A hint only saves time: without one the backup is as good. */
static void link_hint(struct sc_backup *backup, const struct part *part)
{
    struct stat info;
    char name[SC_FILES_NAME_SIZE];
    sc_files_hint_name(name, part->number);
    if (sc_io_link(backup->store->files.dir_fd, name, backup->dir.dir_fd, name) == 0) {
        struct sc_backup_file *file = add_file(backup, name, 0);
        file->linked = true;
        if (fstatat(backup->dir.dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
            file->size = (uint64_t)info.st_size;
        }
        expect_bytes(backup, file->size);
    }
}

/* Hashes a file's bytes from `from` to `end`, writing them to `to` if that is a file. */
static enum sc_status pass_bytes(struct sc_backup *backup, struct sc_diskfile *from, uint64_t end,
                                 int to, const char *name, XXH3_state_t *state, char *why)
{
    enum sc_status status = SC_OK;
    for (uint64_t at = 0; at < end && status == SC_OK;) {
        size_t size = end - at < STEP_SIZE ? (size_t)(end - at) : STEP_SIZE;
        ssize_t got = sc_diskfile_read(from, backup->step, size, at);
        if (got >= 0 && sc_diskfile_has_gap(from, at, size)) {
            errno = EIO;
            got = -1;
        }
        if (got < 0) {
            return sc_files_fail(&backup->store->files, "read", name, why);
        }
        if ((size_t)got < size) {
            return sc_fail(why, SC_IO, "%s in %s has become shorter", name,
                           backup->store->files.path);
        }
        if (to >= 0 && sc_io_write(to, backup->step, size, at) != 0) {
            return sc_files_fail(&backup->dir, "write", name, why);
        }
        (void)XXH3_64bits_update(state, backup->step, size);
        at += size;
        status = proceed(backup, size, why);
    }
    return status;
}

/* The same for a whole file; stores its checksum. */
static enum sc_status pass_file(struct sc_backup *backup, const struct sc_files *from, bool cached,
                                int to, struct sc_backup_file *file, char *why)
{
    struct sc_diskfile disk;
    enum sc_status status = sc_diskfile_open(&disk, from, file->name, cached, why);
    if (status != SC_OK) {
        return SC_IO;
    }
    XXH3_state_t *state = XXH3_createState();
    status = state != NULL ? SC_OK : sc_fail(why, SC_IO, "out of memory");
    if (status == SC_OK) {
        (void)XXH3_64bits_reset(state);
        status = pass_bytes(backup, &disk, file->size, to, file->name, state, why);
        file->checksum = XXH3_64bits_digest(state);
    }
    (void)XXH3_freeState(state);
    sc_diskfile_close(&disk);
    return status;
}

/* Copies a file up to its size, and syncs the copy. */
static enum sc_status copy_file(struct sc_backup *backup, const char *name, uint64_t size,
                                bool cached, char *why)
{
    int to = sc_io_open(backup->dir.dir_fd, name, O_WRONLY | O_CREAT | O_EXCL);
    if (to < 0) {
        return sc_files_fail(&backup->dir, "create", name, why);
    }
    struct sc_backup_file *file = add_file(backup, name, size);
    enum sc_status status = pass_file(backup, &backup->store->files, cached, to, file, why);
    sc_failpoint("backup_copied");
    if (status == SC_OK && sc_io_fsync(to) != 0) {
        status = sc_files_fail(&backup->dir, "sync", name, why);
    }
    if (close(to) != 0 && status == SC_OK) {
        status = sc_files_fail(&backup->dir, "close", name, why);
    }
    return status;
}

/* Syncs a file through a descriptor of the backup's own: an error must still show to the writer. */
static enum sc_status sync_linked(struct sc_backup *backup, const char *name, char *why)
{
    int fd = sc_io_open(backup->dir.dir_fd, name, O_RDONLY);
    if (fd < 0) {
        return sc_files_fail(&backup->dir, "open", name, why);
    }
    enum sc_status status =
        sc_io_fdatasync(fd) == 0 ? SC_OK : sc_files_fail(&backup->dir, "sync", name, why);
    (void)close(fd);
    return status;
}

static enum sc_status take_part(struct sc_backup *backup, const struct part *part, bool copy,
                                char *why)
{
    char name[SC_FILES_NAME_SIZE];
    sc_files_data_name(name, part->number);
    if (copy || !link_file(backup, part, name)) {
        /* What was written last is in memory. */
        return copy_file(backup, name, part->size, !part->settled, why);
    }
    sc_failpoint("backup_linked");
    if (!part->settled) {
        return sync_linked(backup, name, why);
    }
    link_hint(backup, part);
    return SC_OK;
}

static enum sc_status take_parts(struct sc_backup *backup, bool copy, char *why)
{
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < backup->part_count && status == SC_OK; i++) {
        status = take_part(backup, &backup->parts[i], copy, why);
    }
    return status;
}

/* ---- The end ---- */

/* Reads the links, to know their checksums. */
static enum sc_status read_links(struct sc_backup *backup, char *why)
{
    enum sc_status status = SC_OK;
    uint64_t linked = 0;
    for (size_t i = 0; i < backup->count && status == SC_OK; i++) {
        struct sc_backup_file *file = &backup->files[i];
        if (file->linked) {
            status = pass_file(backup, &backup->dir, false, -1, file, why);
            linked += file->size;
        }
    }
    lock(backup);
    backup->figures.linked_bytes = linked;
    unlock(backup);
    return status;
}

/* A small file that has just been written: its size and checksum. */
static enum sc_status note_written(struct sc_backup *backup, const char *name, char *why)
{
    struct stat info;
    if (fstatat(backup->dir.dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return sc_files_fail(&backup->dir, "look at", name, why);
    }
    expect_bytes(backup, (uint64_t)info.st_size);
    return pass_file(backup, &backup->dir, true, -1, add_file(backup, name, (uint64_t)info.st_size),
                     why);
}

/* So that no key that has expired comes back when a clock is behind. */
static enum sc_status write_horizon(struct sc_backup *backup, char *why)
{
    struct sc_horizon horizon = {0};
    uint64_t now_ms = backup->figures.time_ms; /* changes no more */
    sc_horizon_advance(&horizon, &backup->dir, now_ms);
    bool good = horizon.ms == now_ms && sc_io_fdatasync(horizon.fd) == 0;
    enum sc_status status =
        good ? SC_OK : sc_files_fail(&backup->dir, "write", SC_FILES_HORIZON, why);
    bool made = horizon.fd > 0;
    sc_horizon_close(&horizon);
    if (status == SC_OK) {
        return note_written(backup, SC_FILES_HORIZON, why);
    }
    if (made) {
        (void)sc_io_unlink(backup->dir.dir_fd, SC_FILES_HORIZON);
    }
    return status;
}

static enum sc_status write_label(struct sc_backup *backup, char *why)
{
    if (backup->label.label == 0) {
        return SC_OK;
    }
    enum sc_status status = sc_label_write(&backup->label, &backup->dir, why);
    if (status == SC_OK) {
        status = note_written(backup, SC_LABEL_FILE, why);
    } else {
        (void)sc_io_unlink(backup->dir.dir_fd, SC_LABEL_FILE);
    }
    sc_failpoint("backup_labelled");
    return status;
}

/* Everything else must be on the disk before. */
static enum sc_status write_manifest(struct sc_backup *backup, char *why)
{
    struct sc_manifest_file *files = sc_calloc(backup->part_count + 1, sizeof *files);
    for (size_t i = 0; i < backup->part_count; i++) {
        const struct part *part = &backup->parts[i];
        files[i] = (struct sc_manifest_file){part->number, part->salt, part->size, part->clean};
    }
    sc_failpoint("backup_before_manifest");
    enum sc_status status =
        sc_manifest_save_files(backup->manifest, files, backup->part_count, why);
    sc_failpoint("backup_after_manifest");
    free(files);
    return status == SC_OK ? note_written(backup, SC_FILES_MANIFEST, why) : SC_IO;
}

static enum sc_status run(struct sc_backup *backup, const char *parent, const char *name, bool copy,
                          char *why)
{
    enum sc_status status = make_dirs(backup, parent, name, why);
    if (status == SC_OK) {
        status = write_label(backup, why);
    }
    if (status == SC_OK) {
        status = cut(backup, why);
    }
    if (status == SC_OK) {
        status = take_parts(backup, copy, why);
    }
    unpin(backup); /* what is linked stays, whatever becomes of the store's own name for it */
    if (status == SC_OK) {
        status = read_links(backup, why);
    }
    if (status == SC_OK) {
        status = write_horizon(backup, why);
    }
    if (status == SC_OK) {
        status = sc_files_sync(&backup->dir, why);
    }
    sc_failpoint("backup_synced");
    if (status == SC_OK) {
        status = write_manifest(backup, why);
    }
    if (status == SC_OK) {
        status = sc_files_sync(&backup->parent, why);
    }
    return status;
}

enum sc_status sc_backup_run(struct sc_backup *backup, const struct sc_backup_host *host,
                             const char *parent, const char *name, bool copy, char *why)
{
    backup->host = host;
    backup->step = sc_alloc(STEP_SIZE);
    enum sc_status status = run(backup, parent, name, copy, why);
    if (status != SC_OK) {
        remove_all(backup, parent, name);
    }
    sc_manifest_free(backup->manifest);
    backup->manifest = NULL;
    close_dir(&backup->dir);
    close_dir(&backup->parent);
    free(backup->step);
    backup->step = NULL;
    return status;
}
