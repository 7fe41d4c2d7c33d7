#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static char dir[256];
static pid_t owner;

bool fuzz_is_raw(const uint8_t *data, size_t size)
{
    return size > 0 && (data[size - 1] & 7) == 7;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    return place->level > 0 ? remove(path) : 0;
}

void fuzz_empty(void)
{
    must(nftw(fuzz_dir(), remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static void remove_dir(void)
{
    if (getpid() == owner) {
        fuzz_empty();
        (void)rmdir(dir);
    }
}

const char *fuzz_dir(void)
{
    if (dir[0] == '\0') {
        const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
        (void)snprintf(dir, sizeof dir, "%.200s/sc-fuzz-XXXXXX", base != NULL ? base : "/tmp");
        must(mkdtemp(dir) != NULL);
        owner = getpid();
        must(atexit(remove_dir) == 0);
        sc_log_init("fuzz", SC_LOG_ERROR);
    }
    return dir;
}

const char *fuzz_path(const char *name)
{
    static char paths[4][320];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%.60s", fuzz_dir(), name);
    return path;
}

void fuzz_write(const char *name, const void *data, size_t size)
{
    int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0);
    must(write(fd, data, size) == (ssize_t)size);
    must(close(fd) == 0);
}
