#include "common/sp_lookup.h"

#include <dirent.h>
#include <netinet/in.h>
#include <nng/nng.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address as the system gives it. */
struct end {
    union {
        struct sockaddr_storage storage;
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } address;
    socklen_t size;
};

typedef int name_fn(int fd, struct sockaddr *address, socklen_t *size);

static bool end_of(int fd, name_fn *name, struct end *end)
{
    *end = (struct end){.size = sizeof end->address};
    return name(fd, &end->address.any, &end->size) == 0;
}

/* True when nng means the same address. */
static bool is_end(const struct end *end, const nng_sockaddr *wanted)
{
    switch (wanted->s_family) {
    case NNG_AF_INET:
        return end->address.any.sa_family == AF_INET &&
               end->address.in.sin_port == wanted->s_in.sa_port &&
               end->address.in.sin_addr.s_addr == wanted->s_in.sa_addr;
    case NNG_AF_INET6:
        return end->address.any.sa_family == AF_INET6 &&
               end->address.in6.sin6_port == wanted->s_in6.sa_port &&
               memcmp(&end->address.in6.sin6_addr, wanted->s_in6.sa_addr,
                      sizeof wanted->s_in6.sa_addr) == 0;
    case NNG_AF_IPC:
        return end->address.any.sa_family == AF_UNIX && wanted->s_ipc.sa_path[0] != '\0' &&
               strncmp(end->address.un.sun_path, wanted->s_ipc.sa_path,
                       sizeof end->address.un.sun_path) == 0;
    default:
        return false;
    }
}

/* What is looked for. */
struct wanted {
    nng_sockaddr here; /* not on ipc, where whoever dials has no name */
    nng_sockaddr there;
    bool ipc;
};

static bool is_wanted(int fd, const struct wanted *wanted)
{
    struct end end;
    return end_of(fd, getpeername, &end) && is_end(&end, &wanted->there) &&
           (wanted->ipc || (end_of(fd, getsockname, &end) && is_end(&end, &wanted->here)));
}

/* The one descriptor that is wanted; -1: none is, or more than one. The right one is always among
 * them, since it stays open meanwhile. */
static int find(DIR *directory, const struct wanted *wanted)
{
    const struct dirent *entry;
    int found = -1;
    while ((entry = readdir(directory)) != NULL) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        if (end == entry->d_name || *end != '\0' || !is_wanted((int)fd, wanted)) {
            continue;
        }
        if (found >= 0) {
            return -1;
        }
        found = (int)fd;
    }
    return found;
}

int sc_sp_lookup(struct nng_stream *stream, bool ipc)
{
    struct wanted wanted = {.ipc = ipc};
    if (nng_stream_get_addr(stream, NNG_OPT_LOCADDR, &wanted.here) != 0 ||
        nng_stream_get_addr(stream, NNG_OPT_REMADDR, &wanted.there) != 0) {
        return -1;
    }
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) {
        return -1;
    }
    int found = find(directory, &wanted);
    (void)closedir(directory);
    return found;
}
