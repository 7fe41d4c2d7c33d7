#include "tools/import_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t nothing[1]; /* an empty file cannot be mapped */

enum sc_status sc_import_map_open(struct sc_import_map *map, const char *path, char *why)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return sc_fail(why, errno == ENOENT ? SC_NOTFOUND : SC_IO, "cannot read %s: %s", path,
                       strerror(errno));
    }
    enum sc_status status = SC_OK;
    if (fstat(fd, &info) != 0) {
        status = sc_fail(why, SC_IO, "cannot read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = sc_fail(why, SC_IO, "%s is no regular file", path);
    } else if (info.st_size == 0) {
        *map = (struct sc_import_map){nothing, 0};
    } else {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = sc_fail(why, SC_IO, "cannot map %s: %s", path, strerror(errno));
        } else {
            *map = (struct sc_import_map){data, (size_t)info.st_size};
            (void)madvise(data, map->size, MADV_SEQUENTIAL); /* only advice */
        }
    }
    close(fd);
    return status;
}

void sc_import_map_close(struct sc_import_map *map)
{
    if (map->size > 0) {
        (void)munmap((void *)(uintptr_t)map->data, map->size); /* fails for our own bugs only */
    }
    *map = (struct sc_import_map){0};
}
