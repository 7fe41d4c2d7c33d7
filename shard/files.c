#include "shard/files.h"

#include "common/buf.h"
#include "common/failpoint.h"
#include "shard/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOCK_NAME "LOCK"
#define DATA_ENDING ".data"
#define HINT_ENDING ".hint"
#define TEMPORARY_ENDING ".tmp"

enum sc_status sc_files_fail(const struct sc_files *files, const char *doing, const char *name,
                             char *why)
{
    return sc_fail(why, SC_IO, "cannot %s %s in %s: %s", doing, name, files->path, strerror(errno));
}

/* The creation of a directory is durable when its parent is synced. */
static void sync_parent(const char *path)
{
    char *parent = sc_alloc(strlen(path) + sizeof "/..");
    (void)sprintf(parent, "%s/..", path);
    int fd = sc_io_open(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY);
    if (fd >= 0) {
        (void)sc_io_fsync(fd); /* a parent we may not sync is not ours to worry about */
        (void)close(fd);
    }
    free(parent);
}

static enum sc_status lock(struct sc_files *files, bool read_only, char *why)
{
    files->lock_fd =
        sc_io_open(files->dir_fd, LOCK_NAME, read_only ? O_RDONLY : (O_RDWR | O_CREAT));
    if (files->lock_fd < 0) {
        /* A directory on a read-only medium need not have a lock. */
        return read_only && errno == ENOENT ? SC_OK : sc_files_fail(files, "open", LOCK_NAME, why);
    }
    int status;
    do {
        status = flock(files->lock_fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB);
    } while (status != 0 && errno == EINTR);
    if (status != 0 && errno == EWOULDBLOCK) {
        return sc_fail(why, SC_BUSY, "%s is in use by another process", files->path);
    }
    return status == 0 ? SC_OK : sc_files_fail(files, "lock", LOCK_NAME, why);
}

/* A coordinator's directory would be taken for a new shard's. */
static enum sc_status refuse_coordinator(const struct sc_files *files, char *why)
{
    if (faccessat(files->dir_fd, "map.log", F_OK, 0) == 0 &&
        faccessat(files->dir_fd, SC_FILES_MANIFEST, F_OK, 0) != 0) {
        return sc_fail(why, SC_BADREQUEST,
                       "%s is the directory of a coordinator: give the shard one of its own",
                       files->path);
    }
    return SC_OK;
}

enum sc_status sc_files_open(struct sc_files *files, const char *path, bool read_only, char *why)
{
    *files = (struct sc_files){.path = sc_alloc(strlen(path) + 1), .dir_fd = -1, .lock_fd = -1};
    memcpy(files->path, path, strlen(path) + 1);
    if (!read_only) {
        if (mkdir(path, 0700) == 0) {
            sync_parent(path);
        } else if (errno != EEXIST) {
            sc_fail(why, SC_IO, "cannot create the directory %s: %s", path, strerror(errno));
            goto err;
        }
    }
    files->dir_fd = sc_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    if (files->dir_fd < 0) {
        sc_fail(why, SC_IO, "cannot open the directory %s: %s", path, strerror(errno));
        goto err;
    }
    enum sc_status status = lock(files, read_only, why);
    if (status == SC_OK && !read_only) {
        status = refuse_coordinator(files, why);
    }
    if (status != SC_OK) {
        sc_files_close(files);
        return status;
    }
    return SC_OK;
err:
    sc_files_close(files);
    return SC_IO;
}

void sc_files_close(struct sc_files *files)
{
    if (files->path == NULL) {
        return;
    }
    if (files->lock_fd >= 0) {
        (void)close(files->lock_fd);
    }
    if (files->dir_fd >= 0) {
        (void)close(files->dir_fd);
    }
    free(files->path);
    *files = (struct sc_files){0};
}

void sc_files_data_name(char name[SC_FILES_NAME_SIZE], uint64_t number)
{
    (void)snprintf(name, SC_FILES_NAME_SIZE, "%010" PRIu64 DATA_ENDING, number);
}

void sc_files_hint_name(char name[SC_FILES_NAME_SIZE], uint64_t number)
{
    (void)snprintf(name, SC_FILES_NAME_SIZE, "%010" PRIu64 HINT_ENDING, number);
}

void sc_files_temporary_name(char temporary[SC_FILES_NAME_SIZE], const char *name)
{
    (void)snprintf(temporary, SC_FILES_NAME_SIZE, "%s" TEMPORARY_ENDING, name);
}

static bool ends_with(const char *name, const char *ending)
{
    size_t size = strlen(name);
    size_t ending_size = strlen(ending);
    return size > ending_size && strcmp(name + size - ending_size, ending) == 0;
}

enum sc_files_kind sc_files_parse(const char *name, uint64_t *number)
{
    if (ends_with(name, TEMPORARY_ENDING)) {
        return SC_FILES_TEMPORARY;
    }
    if (name[0] < '0' || name[0] > '9') {
        return SC_FILES_OTHER;
    }
    uint64_t value = strtoull(name, NULL, 10);
    char canonical[SC_FILES_NAME_SIZE];
    sc_files_data_name(canonical, value);
    if (strcmp(name, canonical) == 0) {
        *number = value;
        return SC_FILES_DATA;
    }
    sc_files_hint_name(canonical, value);
    if (strcmp(name, canonical) == 0) {
        *number = value;
        return SC_FILES_HINT;
    }
    return SC_FILES_OTHER;
}

enum sc_status sc_files_list(const struct sc_files *files,
                             void (*visit)(void *arg, const char *name), void *arg, char *why)
{
    int fd = sc_io_open(files->dir_fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return sc_files_fail(files, "list", "the files", why);
    }
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            visit(arg, entry->d_name);
        }
        errno = 0;
    }
    enum sc_status status = errno == 0 ? SC_OK : sc_files_fail(files, "list", "the files", why);
    (void)closedir(dir);
    return status;
}

enum sc_status sc_files_sync(const struct sc_files *files, char *why)
{
    return sc_io_fsync(files->dir_fd) == 0 ? SC_OK
                                           : sc_files_fail(files, "sync", "the directory", why);
}

enum sc_status sc_files_put(const struct sc_files *files, const char *name, const void *data,
                            size_t size, char *why)
{
    char temporary[SC_FILES_NAME_SIZE];
    sc_files_temporary_name(temporary, name);
    int fd = sc_io_open(files->dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return sc_files_fail(files, "create", temporary, why);
    }
    enum sc_status status = SC_OK;
    if (sc_io_write(fd, data, size, 0) != 0) {
        status = sc_files_fail(files, "write", temporary, why);
    } else if (sc_io_fsync(fd) != 0) {
        status = sc_files_fail(files, "sync", temporary, why);
    }
    if (close(fd) != 0 && status == SC_OK) {
        status = sc_files_fail(files, "close", temporary, why);
    }
    sc_failpoint("replace_written");
    if (status == SC_OK && sc_io_rename(files->dir_fd, temporary, name) != 0) {
        status = sc_files_fail(files, "rename", temporary, why);
    }
    if (status != SC_OK) {
        (void)sc_io_unlink(files->dir_fd, temporary); /* else the next opening removes it */
        return status;
    }
    sc_failpoint("replace_renamed");
    return SC_OK;
}

enum sc_status sc_files_replace(const struct sc_files *files, const char *name, const void *data,
                                size_t size, char *why)
{
    enum sc_status status = sc_files_put(files, name, data, size, why);
    if (status != SC_OK) {
        return status;
    }
    return sc_files_sync(files, why) == SC_OK ? SC_OK : SC_UNKNOWN;
}

uint64_t sc_files_free(const struct sc_files *files)
{
    struct statvfs disk;
    return fstatvfs(files->dir_fd, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
}
