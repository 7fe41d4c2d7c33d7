#include "shard/quarantine.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/jsontext.h"
#include "shard/diskfile.h"
#include "shard/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY "quarantine"
#define BYTES_ENDING ".bytes"
#define CHUNK ((size_t)1 << 20)

/* A part on its way into the quarantine. */
struct part {
    const struct sc_files *files;
    const struct sc_damage *damage;
    int dir_fd; /* of the quarantine */
    char bytes[SC_QUARANTINE_NAME_SIZE];
    char json[SC_QUARANTINE_NAME_SIZE];
    char temporary[SC_QUARANTINE_NAME_SIZE];
    bool unreadable;
};

/* The name without an ending. */
static void stem_of(const struct sc_damage *damage, char stem[64])
{
    (void)snprintf(stem, 64, "%010" PRIu64 "-%" PRIu64 "-%" PRIu64, damage->file, damage->offset,
                   damage->size);
}

void sc_quarantine_name(const struct sc_damage *damage, char name[SC_QUARANTINE_NAME_SIZE])
{
    char stem[64];
    stem_of(damage, stem);
    (void)snprintf(name, SC_QUARANTINE_NAME_SIZE, DIRECTORY "/%s" BYTES_ENDING, stem);
}

bool sc_quarantine_has(const struct sc_files *files, const struct sc_damage *damage)
{
    char name[SC_QUARANTINE_NAME_SIZE];
    sc_quarantine_name(damage, name);
    return faccessat(files->dir_fd, name, F_OK, 0) == 0;
}

static enum sc_status fail(const struct part *part, const char *doing, const char *name, char *why)
{
    return sc_fail(why, SC_IO, "cannot %s %s/" DIRECTORY "/%s: %s", doing, part->files->path, name,
                   strerror(errno));
}

/* Opens the directory, which is made, durably, if it is not there. */
static enum sc_status open_directory(struct part *part, char *why)
{
    int fd = sc_io_open(part->files->dir_fd, DIRECTORY, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT) {
        if (sc_io_mkdir(part->files->dir_fd, DIRECTORY) != 0 && errno != EEXIST) {
            return sc_files_fail(part->files, "make", DIRECTORY, why);
        }
        if (sc_files_sync(part->files, why) != SC_OK) {
            return SC_IO;
        }
        fd = sc_io_open(part->files->dir_fd, DIRECTORY, O_RDONLY | O_DIRECTORY);
    }
    part->dir_fd = fd;
    return fd >= 0 ? SC_OK : sc_files_fail(part->files, "open", DIRECTORY, why);
}

/* Whether there is room for one part more. */
static enum sc_status check_room(const struct part *part, char *why)
{
    int fd = sc_io_open(part->dir_fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return fail(part, "list", "", why);
    }
    uint64_t parts = 1;
    uint64_t bytes = part->damage->size;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct stat stat;
        const char *ending = strrchr(entry->d_name, '.');
        if (ending != NULL && strcmp(ending, BYTES_ENDING) == 0 &&
            fstatat(part->dir_fd, entry->d_name, &stat, 0) == 0) {
            parts++;
            bytes += (uint64_t)stat.st_size;
        }
    }
    (void)closedir(dir);
    return parts <= SC_QUARANTINE_PARTS_MAX && bytes <= SC_QUARANTINE_BYTES_MAX
               ? SC_OK
               : sc_fail(why, SC_TOOLARGE,
                         "%s/" DIRECTORY " is full: it holds %u parts and %" PRIu64
                         " MiB at most; move what is in it elsewhere",
                         part->files->path, SC_QUARANTINE_PARTS_MAX, SC_QUARANTINE_BYTES_MAX >> 20);
}

static void visit_name(const char *name, void (*visit)(void *arg, const struct sc_damage *part),
                       void *arg)
{
    struct sc_damage part = {0};
    char own[SC_QUARANTINE_NAME_SIZE];
    if (sscanf(name, "%" SCNu64 "-%" SCNu64 "-%" SCNu64, &part.file, &part.offset, &part.size) ==
        3) {
        sc_quarantine_name(&part, own);
        if (strcmp(own + sizeof DIRECTORY, name) == 0) {
            visit(arg, &part);
        }
    }
}

void sc_quarantine_list(const struct sc_files *files,
                        void (*visit)(void *arg, const struct sc_damage *part), void *arg)
{
    int fd = sc_io_open(files->dir_fd, DIRECTORY, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        visit_name(entry->d_name, visit, arg);
    }
    (void)closedir(dir);
}

/* ---- Writing ---- */

static void put_text(struct sc_buf *line, const char *text)
{
    sc_buf_append(line, text, strlen(text));
}

static void describe(const struct part *part, struct sc_buf *line)
{
    const struct sc_damage *damage = part->damage;
    char text[160];
    char file[SC_FILES_NAME_SIZE];
    time_t now = (time_t)(sc_clock_wall_us() / 1000000);
    struct tm utc;
    sc_damage_file(damage, file);
    (void)snprintf(text, sizeof text,
                   "{\"file\":\"%s\",\"offset\":%" PRIu64 ",\"size\":%" PRIu64 ",\"kind\":\"%s\"",
                   file, damage->offset, damage->size, sc_damage_name(damage->kind));
    put_text(line, text);
    if (damage->key.data != NULL) {
        put_text(line, ",\"key\":");
        sc_jsontext_key(line, damage->key);
    }
    if (damage->version != 0) {
        (void)snprintf(text, sizeof text, ",\"version\":%" PRIu64, damage->version);
        put_text(line, text);
    }
    put_text(line, part->unreadable ? ",\"unreadable\":true" : "");
    put_text(line, ",\"meaning\":");
    sc_jsontext_string(line, sc_slice_str(sc_damage_meaning(damage)));
    if (gmtime_r(&now, &utc) != NULL &&
        strftime(text, sizeof text, ",\"time\":\"%Y-%m-%dT%H:%M:%SZ\"", &utc) > 0) {
        put_text(line, text);
    }
    put_text(line, "}\n");
}

/* Copies the bytes to `fd`. */
static enum sc_status copy_bytes(struct part *part, int fd, char *why)
{
    const struct sc_damage *damage = part->damage;
    char name[SC_FILES_NAME_SIZE];
    struct sc_diskfile file;
    sc_files_data_name(name, damage->file);
    if (sc_diskfile_open(&file, part->files, name, true, why) != SC_OK) {
        return SC_IO;
    }
    uint8_t *chunk = sc_alloc(CHUNK);
    enum sc_status status = SC_OK;
    uint64_t done = 0;
    while (status == SC_OK && done < damage->size) {
        size_t size = damage->size - done < CHUNK ? (size_t)(damage->size - done) : CHUNK;
        ssize_t got = sc_diskfile_read(&file, chunk, size, damage->offset + done);
        if (got < 0) {
            status = sc_files_fail(part->files, "read", name, why);
        } else if (got > 0 && sc_io_write(fd, chunk, (size_t)got, done) != 0) {
            status = fail(part, "write", part->temporary, why);
        }
        if (got <= 0) {
            break; /* the file ends in the middle of it */
        }
        done += (uint64_t)got;
    }
    part->unreadable = sc_diskfile_has_gap(&file, damage->offset, damage->size);
    sc_diskfile_close(&file);
    free(chunk);
    return status;
}

static enum sc_status copy_json(struct part *part, int fd, char *why)
{
    struct sc_buf line = {0};
    describe(part, &line);
    enum sc_status status = sc_io_write(fd, line.data, line.size, 0) == 0
                                ? SC_OK
                                : fail(part, "write", part->temporary, why);
    sc_buf_fini(&line);
    return status;
}

/* Writes a file under a temporary name and syncs it; it stays open. */
static enum sc_status write_temporary(struct part *part, const char *name,
                                      enum sc_status (*fill)(struct part *, int, char *), char *why)
{
    (void)snprintf(part->temporary, sizeof part->temporary, "%.80s.tmp", name);
    int fd = sc_io_open(part->dir_fd, part->temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return fail(part, "create", part->temporary, why);
    }
    enum sc_status status = fill(part, fd, why);
    if (status == SC_OK && sc_io_fsync(fd) != 0) {
        status = fail(part, "sync", part->temporary, why);
    }
    if (close(fd) != 0 && status == SC_OK) {
        status = fail(part, "close", part->temporary, why);
    }
    if (status == SC_OK && sc_io_rename(part->dir_fd, part->temporary, name) != 0) {
        status = fail(part, "rename", part->temporary, why);
    }
    if (status != SC_OK) {
        (void)sc_io_unlink(part->dir_fd, part->temporary); /* else the next attempt overwrites it */
    }
    return status;
}

/* The description first: it needs what copying finds out, so the bytes wait under another name. */
static enum sc_status write_both(struct part *part, char *why)
{
    char waiting[SC_QUARANTINE_NAME_SIZE];
    (void)snprintf(waiting, sizeof waiting, "%.80s.new", part->bytes);
    enum sc_status status = write_temporary(part, waiting, copy_bytes, why);
    sc_failpoint("quarantine_copied");
    if (status == SC_OK) {
        status = write_temporary(part, part->json, copy_json, why);
    }
    sc_failpoint("quarantine_described");
    if (status == SC_OK && sc_io_rename(part->dir_fd, waiting, part->bytes) != 0) {
        status = fail(part, "rename", waiting, why);
    }
    sc_failpoint("quarantine_renamed");
    if (status == SC_OK && sc_io_fsync(part->dir_fd) != 0) {
        status = fail(part, "sync", "", why);
        /* It must not count as kept: the name may not be on the disk. */
        (void)sc_io_unlink(part->dir_fd, part->bytes);
    }
    if (status != SC_OK) {
        (void)sc_io_unlink(part->dir_fd, waiting);
    }
    return status;
}

enum sc_status sc_quarantine_keep(const struct sc_files *files, const struct sc_damage *damage,
                                  char *why)
{
    struct part part = {.files = files, .damage = damage, .dir_fd = -1};
    char stem[64];
    stem_of(damage, stem);
    (void)snprintf(part.bytes, sizeof part.bytes, "%s" BYTES_ENDING, stem);
    (void)snprintf(part.json, sizeof part.json, "%s.json", stem);
    enum sc_status status = open_directory(&part, why);
    if (status == SC_OK && sc_quarantine_has(files, damage)) {
        /* Whoever put it there may have died before its name was on the disk. */
        status = sc_io_fsync(part.dir_fd) == 0 ? SC_OK : fail(&part, "sync", "", why);
    } else if (status == SC_OK) {
        status = check_room(&part, why);
        status = status == SC_OK ? write_both(&part, why) : status;
    }
    if (part.dir_fd >= 0) {
        (void)close(part.dir_fd);
    }
    return status;
}

/* ---- Whole files ---- */

static bool is_same(const struct sc_files *files, const char *a, const char *b)
{
    struct stat x;
    struct stat y;
    return fstatat(files->dir_fd, a, &x, 0) == 0 && fstatat(files->dir_fd, b, &y, 0) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

enum sc_status sc_quarantine_link(const struct sc_files *files, const char *name, char *why)
{
    struct part part = {.files = files, .dir_fd = -1};
    char to[SC_QUARANTINE_NAME_SIZE];
    if (faccessat(files->dir_fd, name, F_OK, 0) != 0 && errno == ENOENT) {
        return SC_OK;
    }
    enum sc_status status = open_directory(&part, why);
    bool kept = false;
    for (unsigned i = 0; status == SC_OK && !kept; i++) {
        if (i == 0) {
            (void)snprintf(to, sizeof to, DIRECTORY "/%s", name);
        } else {
            (void)snprintf(to, sizeof to, DIRECTORY "/%s.%u", name, i);
        }
        kept = sc_io_link(files->dir_fd, name, files->dir_fd, to) == 0;
        if (!kept && (errno != EEXIST || i == SC_QUARANTINE_PARTS_MAX)) {
            status = sc_files_fail(files, "put into the quarantine", name, why);
        } else if (!kept) {
            kept = is_same(files, name, to);
        }
    }
    if (status == SC_OK && sc_io_fsync(part.dir_fd) != 0) {
        status = fail(&part, "sync", "", why);
    }
    if (part.dir_fd >= 0) {
        (void)close(part.dir_fd);
    }
    return status;
}

enum sc_status sc_quarantine_move(const struct sc_files *files, const char *name, char *why)
{
    enum sc_status status = sc_quarantine_link(files, name, why);
    if (status == SC_OK && sc_io_unlink(files->dir_fd, name) != 0 && errno != ENOENT) {
        status = sc_files_fail(files, "remove", name, why);
    }
    return status;
}
