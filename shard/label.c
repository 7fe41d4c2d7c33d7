#include "shard/label.h"

#include "common/buf.h"
#include "common/failpoint.h"
#include "shard/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_SIZE 160u

static void write_text(const struct sc_label *label, char text[TEXT_SIZE])
{
    int size = snprintf(text, TEXT_SIZE, "{\"cluster\":\"");
    for (size_t i = 0; i < sizeof label->cluster; i++) {
        size += snprintf(text + size, TEXT_SIZE - (size_t)size, "%02x", label->cluster[i]);
    }
    (void)snprintf(text + size, TEXT_SIZE - (size_t)size,
                   "\",\"shard\":%" PRIu32 ",\"label\":\"%016" PRIx64 "\"}\n", label->shard_id,
                   label->label);
}

enum sc_status sc_label_write(const struct sc_label *label, const struct sc_files *dir, char *why)
{
    char text[TEXT_SIZE];
    write_text(label, text);
    return sc_files_replace(dir, SC_LABEL_FILE, text, strlen(text), why) == SC_OK ? SC_OK : SC_IO;
}

/* ---- Removing ---- */

struct content {
    struct sc_buf names; /* that backups make, each with its end; not the label */
    bool labelled;
    bool foreign; /* there is something else */
};

static void see_name(void *arg, const char *name)
{
    struct content *content = arg;
    uint64_t number;
    if (strcmp(name, SC_LABEL_FILE) == 0) {
        content->labelled = true;
        return;
    }
    bool ours = sc_files_parse(name, &number) != SC_FILES_OTHER ||
                strcmp(name, SC_FILES_MANIFEST) == 0 || strcmp(name, SC_FILES_HORIZON) == 0;
    content->foreign = content->foreign || !ours;
    sc_buf_append(&content->names, name, strlen(name) + 1);
}

static bool has_label(const struct sc_label *label, const struct sc_files *dir)
{
    char wanted[TEXT_SIZE];
    char found[TEXT_SIZE];
    write_text(label, wanted);
    int fd = sc_io_open(dir->dir_fd, SC_LABEL_FILE, O_RDONLY | O_NOFOLLOW);
    ssize_t got = fd >= 0 ? sc_io_read(fd, found, sizeof found, 0) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    return got == (ssize_t)strlen(wanted) && memcmp(found, wanted, strlen(wanted)) == 0;
}

/* The label goes last: what is left after an interruption is still known for what it is. */
static bool remove_content(const struct content *content, const struct sc_files *dir)
{
    const char *end = (const char *)content->names.data + content->names.size;
    if (content->labelled && sc_io_unlink(dir->dir_fd, SC_FILES_MANIFEST) == 0) {
        sc_failpoint("label_reclaiming"); /* it no longer looks complete */
    }
    for (const char *name = (const char *)content->names.data; name != end;
         name += strlen(name) + 1) {
        if (strcmp(name, SC_FILES_MANIFEST) != 0 && sc_io_unlink(dir->dir_fd, name) != 0) {
            return false;
        }
    }
    sc_failpoint("label_reclaimed");
    return !content->labelled || sc_io_unlink(dir->dir_fd, SC_LABEL_FILE) == 0;
}

static bool reclaim(const struct sc_label *label, const struct sc_files *dir)
{
    struct content content = {0};
    char why[SC_WHY_SIZE];
    bool known = sc_files_list(dir, see_name, &content, why) == SC_OK && !content.foreign;
    if (known && content.labelled) {
        known = has_label(label, dir);
    } else if (known) {
        known = content.names.size == 0 ||
                (content.names.size == sizeof SC_LABEL_FILE ".tmp" &&
                 memcmp(content.names.data, SC_LABEL_FILE ".tmp", content.names.size) == 0);
    }
    bool removed = known && remove_content(&content, dir);
    sc_buf_fini(&content.names);
    return removed;
}

bool sc_label_reclaim(const struct sc_label *label, const struct sc_files *parent, const char *name)
{
    struct sc_files dir = {
        .path = parent->path,
        .lock_fd = -1,
        .dir_fd = sc_io_open(parent->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    };
    bool complete = faccessat(parent->dir_fd, SC_LABEL_COMPLETE, F_OK, 0) == 0 || errno != ENOENT;
    bool removed = dir.dir_fd >= 0 && label->label != 0 && !complete && reclaim(label, &dir);
    if (dir.dir_fd >= 0) {
        (void)close(dir.dir_fd);
    }
    return removed && unlinkat(parent->dir_fd, name, AT_REMOVEDIR) == 0;
}
