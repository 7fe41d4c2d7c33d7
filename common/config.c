#include "common/config.h"

#include <inttypes.h>

struct setting {
    const char *name;
    uint64_t least, most, preset;
    const char *meaning;
};

static const struct setting settings[SC_CONFIG_NAMES] = {
#define SETTING(name, least, most, preset, meaning) \
    [SC_CONFIG_##name] = {#name, least, most, preset, meaning},
    SC_CONFIG_LIST(SETTING)
#undef SETTING
};

struct sc_config sc_config_defaults(void)
{
    struct sc_config config = {.given = 0};
    for (int i = 0; i < SC_CONFIG_NAMES; i++) {
        config.values[i] = settings[i].preset;
    }
    return config;
}

const char *sc_config_name(enum sc_config_name name)
{
    return settings[name].name;
}

const char *sc_config_meaning(enum sc_config_name name)
{
    return settings[name].meaning;
}

void sc_config_apply(struct sc_config *config, const struct sc_config *change)
{
    for (int i = 0; i < SC_CONFIG_NAMES; i++) {
        if ((change->given >> i & 1) != 0) {
            config->values[i] = change->values[i];
        }
    }
    config->given |= change->given;
}

static int find(struct sc_slice name)
{
    for (int i = 0; i < SC_CONFIG_NAMES; i++) {
        if (sc_slice_equal(name, sc_slice_str(settings[i].name))) {
            return i;
        }
    }
    return -1;
}

static bool read_value(struct sc_mp *mp, const struct setting *setting, uint64_t *value)
{
    bool flag = false;
    if (setting->most == 1 && sc_mp_peek(mp) == SC_MP_BOOL) {
        (void)sc_mp_bool(mp, &flag);
        *value = flag ? 1 : 0;
        return true;
    }
    return sc_mp_uint(mp, value) && *value >= setting->least && *value <= setting->most;
}

static enum sc_status read_pair(struct sc_mp *mp, struct sc_config *change, char *why)
{
    struct sc_slice name;
    uint64_t value = 0;
    if (!sc_mp_str(mp, &name)) {
        return sc_fail(why, SC_BADREQUEST, "config: the names of settings must be str");
    }
    int i = find(name);
    if (i < 0) {
        return sc_fail(why, SC_BADREQUEST, "config: the setting \"%.*s\" is not known",
                       (int)(name.size < 40 ? name.size : 40), (const char *)name.data);
    }
    if ((change->given >> i & 1) != 0) {
        return sc_fail(why, SC_BADREQUEST, "config: %s is given twice", settings[i].name);
    }
    if (!read_value(mp, &settings[i], &value)) {
        return sc_fail(why, SC_BADREQUEST,
                       "config: %s must be a number from %" PRIu64 " to %" PRIu64, settings[i].name,
                       settings[i].least, settings[i].most);
    }
    change->values[i] = value;
    change->given |= 1u << i;
    return SC_OK;
}

enum sc_status sc_config_parse(struct sc_mp *mp, struct sc_config *change, char *why)
{
    uint32_t pairs = 0;
    *change = sc_config_defaults();
    if (!sc_mp_map(mp, &pairs)) {
        return sc_fail(why, SC_BADREQUEST, "config: the settings must be a map");
    }
    enum sc_status status = SC_OK;
    for (uint32_t i = 0; i < pairs && status == SC_OK; i++) {
        status = read_pair(mp, change, why);
    }
    return status;
}

uint32_t sc_config_put_pairs(const struct sc_config *config, struct sc_buf *out)
{
    for (int i = 0; i < SC_CONFIG_NAMES; i++) {
        sc_mp_put_cstr(out, settings[i].name);
        sc_mp_put_uint(out, config->values[i]);
    }
    return SC_CONFIG_NAMES;
}

void sc_config_put(const struct sc_config *config, bool all, struct sc_buf *out)
{
    uint32_t pairs = 0;
    for (int i = 0; i < SC_CONFIG_NAMES; i++) {
        pairs += config->given >> i & 1;
    }
    if (all) {
        sc_mp_put_map(out, SC_CONFIG_NAMES);
        (void)sc_config_put_pairs(config, out);
        return;
    }
    sc_mp_put_map(out, pairs);
    for (int i = 0; i < SC_CONFIG_NAMES; i++) {
        if ((config->given >> i & 1) != 0) {
            sc_mp_put_cstr(out, settings[i].name);
            sc_mp_put_uint(out, config->values[i]);
        }
    }
}
