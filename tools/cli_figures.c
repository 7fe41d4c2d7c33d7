#include "tools/cli_figures.h"

#include <stdlib.h>
#include <string.h>

#include "tools/cli_output.h"

#define NAME_MAX_SIZE 96
#define DEPTH_MAX 6 /* deeper maps are shown as JSON */
#define NARROW_TEXT_MAX 18 /* characters of a text beside others */
#define COLUMNS_MAX 6 /* more things of a list are shown in further tables */

bool sc_cli_figures_find(struct sc_slice map, const char *name, struct sc_slice *value)
{
    struct sc_mp mp = sc_mp(map);
    struct sc_slice member = {NULL, 0};
    uint32_t members = 0;
    if (sc_mp_peek(&mp) != SC_MP_MAP || !sc_mp_map(&mp, &members)) {
        return false;
    }
    for (uint32_t i = 0; i < members; i++) {
        struct sc_slice key = {NULL, 0};
        if (!sc_mp_skip(&mp, &key) || !sc_mp_skip(&mp, value)) {
            return false;
        }
        struct sc_mp text = sc_mp(key);
        if (sc_mp_peek(&text) == SC_MP_STR && sc_mp_str(&text, &member) &&
            sc_slice_equal(member, sc_slice_str(name))) {
            return true;
        }
    }
    return false;
}

/* ---- Flattening: {"a": {"b": 1}} is the figure a.b ---- */

struct figure {
    char name[NAME_MAX_SIZE];
    struct sc_slice value;
};

struct figures {
    struct figure *list;
    size_t count;
};

static void add_figure(struct figures *figures, const char *name, struct sc_slice value)
{
    figures->list = sc_realloc(figures->list, (figures->count + 1) * sizeof *figures->list);
    struct figure *figure = &figures->list[figures->count++];
    snprintf(figure->name, sizeof figure->name, "%s", name);
    figure->value = value;
}

static enum sc_mp_type type_of(struct sc_slice value)
{
    struct sc_mp mp = sc_mp(value);
    return sc_mp_peek(&mp);
}

/* The elements of a list when all are maps; 0 otherwise. `elements` may be NULL. */
static uint32_t maps_in_list(struct sc_slice value, struct sc_slice *elements, uint32_t room)
{
    struct sc_mp mp = sc_mp(value);
    uint32_t count = 0;
    if (type_of(value) != SC_MP_ARRAY || !sc_mp_array(&mp, &count)) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice element = {NULL, 0};
        if (sc_mp_peek(&mp) != SC_MP_MAP || !sc_mp_skip(&mp, &element)) {
            return 0;
        }
        if (i < room) {
            elements[i] = element;
        }
    }
    return count;
}

/* Adds the figures of a map; those in further maps with the names of both. Its recursion ends at
 * DEPTH_MAX. */
static bool flatten(struct figures *figures, const char *prefix, struct sc_slice map, int depth)
{
    struct sc_mp mp = sc_mp(map);
    uint32_t members = 0;
    if (!sc_mp_map(&mp, &members)) {
        return false;
    }
    for (uint32_t i = 0; i < members; i++) {
        struct sc_slice key = {NULL, 0};
        struct sc_slice value = {NULL, 0};
        char name[NAME_MAX_SIZE];
        if (!sc_mp_bytes(&mp, &key) || !sc_mp_skip(&mp, &value)) {
            return false;
        }
        snprintf(name, sizeof name, "%s%s%.*s", prefix, *prefix != '\0' ? "." : "",
                 (int)(key.size < NAME_MAX_SIZE ? key.size : NAME_MAX_SIZE),
                 (const char *)key.data);
        if (type_of(value) == SC_MP_MAP && depth < DEPTH_MAX) {
            if (!flatten(figures, name, value, depth + 1)) {
                return false;
            }
        } else {
            add_figure(figures, name, value);
        }
    }
    return true;
}

/* ---- Lists of maps: a column for each ---- */

static const struct figure *find_figure(const struct figures *figures, const char *name)
{
    for (size_t i = 0; i < figures->count; i++) {
        if (strcmp(figures->list[i].name, name) == 0) {
            return &figures->list[i];
        }
    }
    return NULL;
}

/* Adds a figure; in narrow columns a long text shows its end only, which tells addresses apart. */
static void add_value(struct sc_cli_table *table, struct sc_slice value, bool narrow)
{
    struct sc_mp mp = sc_mp(value);
    struct sc_slice text = {NULL, 0};
    if (narrow && sc_mp_peek(&mp) == SC_MP_STR && sc_mp_str(&mp, &text) &&
        text.size > NARROW_TEXT_MAX) {
        char end[NARROW_TEXT_MAX + 1];
        const char *from = (const char *)text.data + text.size - (NARROW_TEXT_MAX - 2);
        snprintf(end, sizeof end, "..%.*s", NARROW_TEXT_MAX - 2, from);
        sc_cli_table_add(table, SC_CLI_PLAIN, end);
        table->cells[table->count - 1].right = true;
    } else {
        sc_cli_table_add_value(table, value);
    }
}

/* Adds the row of one figure, with a cell for each column. */
static void add_row(struct sc_cli_table *table, const struct figures *columns, size_t count,
                    const char *name)
{
    sc_cli_table_add(table, SC_CLI_BOLD, name);
    for (size_t i = 0; i < count; i++) {
        const struct figure *figure = find_figure(&columns[i], name);
        if (figure != NULL) {
            add_value(table, figure->value, count > 1);
        } else {
            sc_cli_table_add(table, SC_CLI_PLAIN, "");
        }
    }
}

/* Prints a row for each figure that any of the columns has. */
static void print_columns(struct sc_cli *cli, const struct figures *columns, size_t count)
{
    struct sc_cli_table table;
    sc_cli_table_init(&table, count + 1);
    for (size_t from = 0; from < count; from++) {
        for (size_t i = 0; i < columns[from].count; i++) {
            const char *name = columns[from].list[i].name;
            bool shown = false;
            for (size_t earlier = 0; earlier < from; earlier++) {
                shown |= find_figure(&columns[earlier], name) != NULL;
            }
            if (!shown) {
                add_row(&table, columns, count, name);
            }
        }
    }
    sc_cli_table_print(cli, &table);
}

static bool print_list(struct sc_cli *cli, const char *name, struct sc_slice list)
{
    uint32_t count = maps_in_list(list, NULL, 0);
    struct sc_slice *elements = sc_calloc(count, sizeof *elements);
    bool good = true;
    maps_in_list(list, elements, count);
    for (uint32_t from = 0; good && from < count; from += COLUMNS_MAX) {
        struct figures columns[COLUMNS_MAX] = {{NULL, 0}};
        uint32_t width = count - from < COLUMNS_MAX ? count - from : COLUMNS_MAX;
        for (uint32_t i = 0; i < width; i++) {
            good = flatten(&columns[i], "", elements[from + i], 0) && good;
        }
        fprintf(cli->out, "\n%s%s%s\n", cli->colour ? "\033[1m" : "", name,
                cli->colour ? "\033[0m" : "");
        print_columns(cli, columns, width);
        for (uint32_t i = 0; i < width; i++) {
            free(columns[i].list);
        }
    }
    free(elements);
    return good;
}

bool sc_cli_figures_print(struct sc_cli *cli, struct sc_slice map)
{
    struct figures figures = {NULL, 0};
    struct figures own = {NULL, 0};
    bool good = type_of(map) == SC_MP_MAP && flatten(&figures, "", map, 0);
    for (size_t i = 0; i < figures.count; i++) {
        if (maps_in_list(figures.list[i].value, NULL, 0) == 0) {
            add_figure(&own, figures.list[i].name, figures.list[i].value);
        }
    }
    print_columns(cli, &own, 1);
    for (size_t i = 0; good && i < figures.count; i++) {
        if (maps_in_list(figures.list[i].value, NULL, 0) > 0) {
            good = print_list(cli, figures.list[i].name, figures.list[i].value);
        }
    }
    free(own.list);
    free(figures.list);
    return good;
}
