#include "shard/passes.h"

#include "common/bytes.h"
#include "shard/io.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "SCASKSCR"
#define SIZE 40u
#define CHECKED_SIZE 32u

struct sc_passes sc_passes_load(const struct sc_files *files)
{
    uint8_t bytes[SIZE];
    int fd = sc_io_open(files->dir_fd, SC_FILES_SCRUB, O_RDONLY);
    if (fd < 0) {
        return (struct sc_passes){0};
    }
    ssize_t got = sc_io_read(fd, bytes, sizeof bytes, 0);
    (void)close(fd);
    if (got != (ssize_t)sizeof bytes || memcmp(bytes, MAGIC, 8) != 0 ||
        sc_le64_get(bytes + CHECKED_SIZE) != XXH3_64bits(bytes, CHECKED_SIZE)) {
        return (struct sc_passes){0};
    }
    return (struct sc_passes){sc_le64_get(bytes + 8), sc_le64_get(bytes + 16),
                              sc_le64_get(bytes + 24)};
}

void sc_passes_save(const struct sc_passes *passes, const struct sc_files *files)
{
    uint8_t bytes[SIZE];
    int fd = sc_io_open(files->dir_fd, SC_FILES_SCRUB, O_WRONLY | O_CREAT);
    if (fd < 0) {
        return;
    }
    memcpy(bytes, MAGIC, 8);
    sc_le64_put(bytes + 8, passes->began_ms);
    sc_le64_put(bytes + 16, passes->ended_ms);
    sc_le64_put(bytes + 24, passes->after);
    sc_le64_put(bytes + CHECKED_SIZE, XXH3_64bits(bytes, CHECKED_SIZE));
    (void)sc_io_write(fd, bytes, sizeof bytes, 0);
    (void)close(fd);
}
