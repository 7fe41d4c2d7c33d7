#include "tools/export_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"

static bool open_temporary(struct sc_export_file *file, char *why)
{
    size_t size = strlen(file->path) + sizeof ".XXXXXX";
    file->temporary = sc_alloc(size);
    snprintf(file->temporary, size, "%s.XXXXXX", file->path);
    int fd = mkostemp(file->temporary, O_CLOEXEC);
    if (fd < 0) {
        sc_fail(why, SC_IO, "cannot write beside %s: %s", file->path, strerror(errno));
        free(file->temporary);
        file->temporary = NULL;
        return false;
    }
    /* mkstemp's files are private; this one gets the mode that any new file has. */
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
    file->stream = fdopen(fd, "w");
    return file->stream != NULL;
}

bool sc_export_file_open(struct sc_export_file *file, const char *path, FILE *standard, char *why)
{
    struct stat info;
    *file = (struct sc_export_file){0};
    if (strcmp(path, "-") == 0) {
        file->stream = standard;
        return true;
    }
    file->path = path;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        file->stream = fopen(path, "we");
        if (file->stream == NULL) {
            sc_fail(why, SC_IO, "cannot write %s: %s", path, strerror(errno));
        }
        return file->stream != NULL;
    }
    return open_temporary(file, why);
}

static void sync_directory_of(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return;
    }
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(copy);
}

/* Puts a whole temporary file in the place of the one it is for. */
static bool keep_temporary(const struct sc_export_file *file)
{
    assert(file->temporary != NULL && file->path != NULL);
    if (rename(file->temporary, file->path) != 0) {
        return false;
    }
    sync_directory_of(file->path);
    return true;
}

bool sc_export_file_write(struct sc_export_file *file, const void *data, size_t size)
{
    if (size > 0 && fwrite(data, 1, size, file->stream) != size && file->error == 0) {
        file->error = errno;
    }
    return file->error == 0;
}

bool sc_export_file_close(struct sc_export_file *file, bool good, char *why)
{
    errno = file->error;
    bool written = errno == 0 && fflush(file->stream) == 0 && !ferror(file->stream);
    if (good && written && file->temporary != NULL) {
        written = fsync(fileno(file->stream)) == 0;
    }
    if (file->path != NULL) {
        int error = errno; /* of what failed first */
        bool closed = fclose(file->stream) == 0;
        errno = written ? errno : error;
        written = closed && written;
    }
    if (good && written && file->temporary != NULL) {
        written = keep_temporary(file);
    }
    if (good && !written) {
        sc_fail(why, SC_IO, "%s could not be written: %s",
                file->path != NULL ? file->path : "standard output", strerror(errno));
    }
    if (file->temporary != NULL && !(good && written)) {
        (void)unlink(file->temporary);
    }
    free(file->temporary);
    return !good || written;
}
