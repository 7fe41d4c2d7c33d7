#include "shard/repair.h"

#include "common/buf.h"
#include "common/failpoint.h"
#include "shard/io.h"
#include "shard/manifest.h"
#include "shard/quarantine.h"
#include "shard/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct repair {
    struct sc_files files;
    struct sc_manifest *manifest;
    sc_repair_tell_fn *tell;
    void *arg;
};

static void tell(const struct repair *repair, const char *sentence)
{
    repair->tell(repair->arg, sentence);
}

/* ---- MANIFEST ---- */

static void see_data(void *arg, const char *name)
{
    struct sc_buf *names = arg;
    uint64_t number;
    if (sc_files_parse(name, &number) == SC_FILES_DATA) {
        sc_buf_append(names, name, strlen(name) + 1);
    }
}

/* What the copy does not list gets a second name: the copy may be of a step that was never
 * completed, and opening removes what that step was to replace. */
static enum sc_status keep_unlisted(const struct repair *repair, const struct sc_buf *names,
                                    char *why)
{
    enum sc_status status = SC_OK;
    const char *end = (const char *)names->data + names->size;
    for (const char *name = (const char *)names->data; name != end && status == SC_OK;
         name += strlen(name) + 1) {
        struct sc_manifest_file file;
        uint64_t number;
        (void)sc_files_parse(name, &number);
        if (!sc_manifest_find_file(repair->manifest, number, &file)) {
            status = sc_quarantine_link(&repair->files, name, why);
        }
    }
    return status;
}

/* Makes MANIFEST again from its copy. `names`: the data files that are there; `trouble`: what is
 * wrong with it. */
static enum sc_status restore_manifest(struct repair *repair, const struct sc_buf *names,
                                       const char *trouble, char *why)
{
    char sentence[SC_WHY_SIZE];
    enum sc_status status = sc_manifest_load_copy(&repair->files, &repair->manifest, why);
    if (status == SC_NOTFOUND && names->size == 0) {
        return sc_fail(why, SC_NOTFOUND, "there is no store in %s", repair->files.path);
    }
    if (status == SC_NOTFOUND || status == SC_CORRUPT) {
        return sc_fail(why, SC_CORRUPT,
                       "%s, and " SC_FILES_COPY " is no help: it cannot be decided which files are "
                       "part of the store; restore it from a backup",
                       trouble);
    }
    if (status == SC_OK) {
        status = keep_unlisted(repair, names, why);
    }
    if (status == SC_OK) {
        status = sc_quarantine_move(&repair->files, SC_FILES_MANIFEST, why);
    }
    sc_failpoint("repair_manifest_moved");
    if (status == SC_OK) {
        status = sc_manifest_rewrite(repair->manifest, why);
    }
    sc_failpoint("repair_manifest_written");
    if (status == SC_OK) {
        sc_why(sentence, "%.200s: it was made again from " SC_FILES_COPY, trouble);
        tell(repair, sentence);
    }
    return status;
}

static enum sc_status mend_manifest(struct repair *repair, char *why)
{
    char trouble[SC_WHY_SIZE];
    bool damaged = false;
    bool newer = false;
    enum sc_status status =
        sc_manifest_load_told(&repair->files, &repair->manifest, &damaged, &newer, trouble);
    if (status == SC_OK || status == SC_IO || newer) {
        return status == SC_OK ? SC_OK : sc_fail(why, status, "%s", trouble);
    }
    struct sc_buf names = {0};
    status = sc_files_list(&repair->files, see_data, &names, why);
    if (status == SC_OK) {
        status = restore_manifest(repair, &names, trouble, why);
    }
    sc_buf_fini(&names);
    return status;
}

/* ---- Names ---- */

/* Which file a data file says that it is; false: its head is damaged, or it is not there. */
static bool identify(const struct repair *repair, uint64_t named, uint64_t *number, uint64_t *salt)
{
    uint8_t header[SC_SEGMENT_HEADER_SIZE];
    char name[SC_FILES_NAME_SIZE];
    sc_files_data_name(name, named);
    int fd = sc_io_open(repair->files.dir_fd, name, O_RDONLY);
    if (fd < 0) {
        return false;
    }
    ssize_t got = sc_io_read(fd, header, sizeof header, 0);
    (void)close(fd);
    return got == (ssize_t)sizeof header && sc_segment_identify(header, number, salt);
}

static bool is_itself(const struct repair *repair, const struct sc_manifest_file *file)
{
    uint64_t number;
    uint64_t salt;
    return identify(repair, file->number, &number, &salt) && number == file->number &&
           salt == file->salt;
}

static enum sc_status give_name(struct repair *repair, uint64_t from, uint64_t to, char *why)
{
    char from_name[SC_FILES_NAME_SIZE];
    char to_name[SC_FILES_NAME_SIZE];
    char sentence[SC_WHY_SIZE];
    const int dir = repair->files.dir_fd;
    sc_files_data_name(from_name, from);
    sc_files_data_name(to_name, to);
    bool there = faccessat(dir, to_name, F_OK, 0) == 0;
    int status =
        there ? sc_io_exchange(dir, from_name, to_name) : sc_io_rename(dir, from_name, to_name);
    if (status != 0) {
        return sc_files_fail(&repair->files, "rename", from_name, why);
    }
    sc_failpoint("repair_renamed");
    sc_why(sentence, "%s was %s: it has its name again", from_name, to_name);
    tell(repair, sentence);
    return sc_files_sync(&repair->files, why);
}

/* Every renaming puts one file right at least, so this ends. */
static enum sc_status mend_names(struct repair *repair, char *why)
{
    size_t count = sc_manifest_files(repair->manifest);
    for (size_t i = 0; i < count;) {
        struct sc_manifest_file file = sc_manifest_file(repair->manifest, i);
        struct sc_manifest_file other;
        uint64_t number;
        uint64_t salt;
        bool foreign = identify(repair, file.number, &number, &salt) &&
                       (number != file.number || salt != file.salt) &&
                       sc_manifest_find_file(repair->manifest, number, &other) &&
                       other.salt == salt && other.number != file.number &&
                       !is_itself(repair, &other);
        if (!foreign) {
            i++;
            continue;
        }
        enum sc_status status = give_name(repair, file.number, other.number, why);
        if (status != SC_OK) {
            return status;
        }
    }
    return SC_OK;
}

enum sc_status sc_repair_prepare(const char *dir, sc_repair_tell_fn *on_tell, void *arg, char *why)
{
    struct repair repair = {.tell = on_tell, .arg = arg};
    if (access(dir, F_OK) != 0) {
        return sc_fail(why, SC_NOTFOUND, "cannot open the directory %s: %s", dir, strerror(errno));
    }
    enum sc_status status = sc_files_open(&repair.files, dir, false, why);
    if (status != SC_OK) {
        return status;
    }
    status = mend_manifest(&repair, why);
    if (status == SC_OK) {
        status = mend_names(&repair, why);
    }
    sc_manifest_free(repair.manifest);
    sc_files_close(&repair.files);
    return status;
}
