#include "tools/import_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/buf.h"

#define DIGITS_MAX 19u /* a decimal number of so many digits fits 64 bits */

/* Reads the number out of a name. */
static bool name_number(const char *name, const char *prefix, const char *suffix, uint64_t *number)
{
    size_t before = strlen(prefix);
    if (strncmp(name, prefix, before) != 0) {
        return false;
    }
    const char *digits = name + before;
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > DIGITS_MAX || strcmp(digits + count, suffix) != 0) {
        return false;
    }
    *number = strtoull(digits, NULL, 10);
    return true;
}

static int compare_files(const void *a, const void *b)
{
    const struct sc_import_file *one = a;
    const struct sc_import_file *two = b;
    if (one->number != two->number) {
        return one->number < two->number ? -1 : 1;
    }
    return strcmp(one->name, two->name);
}

static void add_file(struct sc_import_dir *dir, const char *name, uint64_t number,
                     const struct stat *info)
{
    if ((dir->count & (dir->count - 1)) == 0) {
        size_t room = dir->count == 0 ? 1 : 2 * dir->count;
        dir->files = sc_realloc(dir->files, room * sizeof *dir->files);
    }
    size_t size = strlen(name) + 1;
    struct sc_import_file *file = &dir->files[dir->count++];
    *file = (struct sc_import_file){
        .name = sc_alloc(size),
        .number = number,
        .size = (uint64_t)info->st_size,
        .mode = info->st_mode,
    };
    memcpy(file->name, name, size);
    dir->size += file->size;
}

enum sc_status sc_import_dir_list(struct sc_import_dir *dir, const char *path, const char *prefix,
                                  const char *suffix, char *why)
{
    DIR *stream = opendir(path);
    if (stream == NULL) {
        return sc_fail(why, SC_IO, "cannot read %s: %s", path, strerror(errno));
    }
    *dir = (struct sc_import_dir){.path = sc_alloc(strlen(path) + 1)};
    memcpy(dir->path, path, strlen(path) + 1);
    enum sc_status status = SC_OK;
    const struct dirent *entry;
    while (errno = 0, status == SC_OK && (entry = readdir(stream)) != NULL) {
        uint64_t number = 0;
        struct stat info;
        if (!name_number(entry->d_name, prefix, suffix, &number)) {
            continue;
        }
        if (fstatat(dirfd(stream), entry->d_name, &info, 0) != 0) {
            status = sc_fail(why, SC_IO, "cannot read %s in %s: %s", entry->d_name, path,
                             strerror(errno));
        } else if (S_ISREG(info.st_mode)) {
            add_file(dir, entry->d_name, number, &info);
        }
    }
    if (status == SC_OK && errno != 0) {
        status = sc_fail(why, SC_IO, "cannot read %s: %s", path, strerror(errno));
    }
    closedir(stream);
    if (status != SC_OK) {
        sc_import_dir_fini(dir);
        return status;
    }
    if (dir->count > 0) {
        qsort(dir->files, dir->count, sizeof *dir->files, compare_files);
    }
    return SC_OK;
}

bool sc_import_dir_has(const char *path, const char *prefix, const char *suffix)
{
    DIR *stream = opendir(path);
    if (stream == NULL) {
        return false;
    }
    const struct dirent *entry;
    uint64_t number = 0;
    bool found = false;
    while (!found && (entry = readdir(stream)) != NULL) {
        found = name_number(entry->d_name, prefix, suffix, &number);
    }
    closedir(stream);
    return found;
}

bool sc_import_dir_path(const struct sc_import_dir *dir, const char *name, char *buffer)
{
    int size = snprintf(buffer, PATH_MAX, "%s/%s", dir->path, name);
    return size >= 0 && size < PATH_MAX;
}

void sc_import_dir_fini(struct sc_import_dir *dir)
{
    for (size_t i = 0; i < dir->count; i++) {
        free(dir->files[i].name);
    }
    free(dir->files);
    free(dir->path);
    *dir = (struct sc_import_dir){0};
}
