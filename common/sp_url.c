#include <stdlib.h>
#include <sys/un.h>

#include "common/sp_internal.h"

#define TCP "tcp://"
#define IPC "ipc://"

bool sc_sp_url_is_ipc(const char *url)
{
    return strncmp(url, IPC, strlen(IPC)) == 0;
}

static enum sc_status check_ipc(const char *url, char *why)
{
    const char *path = url + strlen(IPC);
    if (path[0] != '/') {
        return sc_fail(why, SC_BADREQUEST,
                       "%s: an ipc address needs an absolute path, as in "
                       "ipc:///run/shardcask.sock",
                       url);
    }
    size_t max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    if (strlen(path) > max) {
        return sc_fail(why, SC_BADREQUEST,
                       "%s: the path is longer than the %zu bytes that the "
                       "system allows for a socket",
                       url, max);
    }
    /* nng would decode these. */
    if (strpbrk(path, "%?#") != NULL) {
        return sc_fail(why, SC_BADREQUEST, "%s: the path must not contain %%, ? or #", url);
    }
    return SC_OK;
}

static bool port_ok(const char *port, bool to_listen)
{
    char *end;
    unsigned long number = strtoul(port, &end, 10);
    return port[0] >= '0' && port[0] <= '9' && *end == '\0' && number <= 65535 &&
           (number > 0 || to_listen);
}

static enum sc_status check_tcp(const char *url, bool to_listen, char *why)
{
    const char *host = url + strlen(TCP);
    const char *colon = strrchr(host, ':');
    if (colon == NULL || !port_ok(colon + 1, to_listen)) {
        return sc_fail(why, SC_BADREQUEST,
                       "%s: no port number after the host, as in "
                       "tcp://127.0.0.1:7700",
                       url);
    }
    if (strpbrk(host, "/?#@% ") != NULL) {
        return sc_fail(why, SC_BADREQUEST, "%s: only tcp://host:port is understood", url);
    }
    bool any = colon == host || (colon == host + 1 && host[0] == '*');
    if (any && !to_listen) {
        return sc_fail(why, SC_BADREQUEST, "%s: no host to connect to", url);
    }
    bool bracketed = host[0] == '[' && colon > host && colon[-1] == ']';
    if (memchr(host, ':', (size_t)(colon - host)) != NULL && !bracketed) {
        return sc_fail(why, SC_BADREQUEST,
                       "%s: an IPv6 address needs brackets, as in "
                       "tcp://[::1]:7700",
                       url);
    }
    return SC_OK;
}

enum sc_status sc_sp_url_check(const char *url, bool to_listen, char *why)
{
    if (strlen(url) > SC_URL_MAX) {
        return sc_fail(why, SC_BADREQUEST, "the address is longer than %u bytes", SC_URL_MAX);
    }
    if (sc_sp_url_is_ipc(url)) {
        return check_ipc(url, why);
    }
    if (strncmp(url, TCP, strlen(TCP)) == 0) {
        return check_tcp(url, to_listen, why);
    }
    return sc_fail(why, SC_BADREQUEST,
                   "%s: not an address; write tcp://host:port or "
                   "ipc:///path",
                   url);
}
