#include "node/dump.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/pack.h"
#include "ledger/tables.h"
#include "storage/log.h"
#include "storage/store.h"
#include "storage/store_guard.h"

#define BIN_SHOWN 48 /* bytes of a long value that are shown */

static void print_hex(struct bytes v)
{
    size_t n = v.size > BIN_SHOWN ? BIN_SHOWN : v.size;
    for (size_t i = 0; i < n; i++)
        printf("%02x", v.data[i]);
    if (v.size > n) printf("...(%zu bytes)", v.size);
}

static void print_text(struct bytes v)
{
    putchar('"');
    for (size_t i = 0; i < v.size; i++)
        if (v.data[i] < 0x20 || v.data[i] == 0x7f || v.data[i] == '"' || v.data[i] == '\\')
            printf("\\x%02x", v.data[i]);
        else
            putchar(v.data[i]);
    putchar('"');
}

/* One msgpack value; what isn't one is shown as bytes by the caller. */
static void print_value(struct unpack *u)
{
    uint8_t c = u->at < u->end ? *u->at : 0xc1;
    if ((c & 0xf0) == 0x90 || c == 0xdc || c == 0xdd) {
        uint32_t n = unpack_array(u, UINT32_MAX);
        putchar('[');
        for (uint32_t i = 0; i < n && u->error == OK; i++) {
            if (i) printf(", ");
            print_value(u);
        }
        putchar(']');
    } else if (c >= 0xc4 && c <= 0xc6) {
        print_hex(unpack_bin(u, SIZE_MAX));
    } else if ((c & 0xe0) == 0xa0 || (c >= 0xd9 && c <= 0xdb)) {
        print_text(unpack_str(u, SIZE_MAX));
    } else if (c == 0xc2 || c == 0xc3) {
        printf("%s", unpack_bool(u) ? "true" : "false");
    } else {
        printf("%" PRIu64, unpack_uint(u));
    }
}

static bool is_packed(struct bytes v)
{
    struct unpack u = unpack_start(v);
    unpack_raw(&u);
    return v.size > 0 && unpack_done(&u) == OK;
}

static bool is_text(struct bytes v)
{
    for (size_t i = 0; i < v.size; i++)
        if (!isprint(v.data[i]) && v.data[i] != '\n' && v.data[i] != '\t') return false;
    return v.size > 0;
}

static void print_row(struct bytes key, struct bytes value)
{
    if (is_text(key) && key.size > 1)
        printf("%.*s", (int)key.size, (const char *)key.data);
    else if (key.size == 8)
        printf("%" PRIu64, get_be64(key.data));
    else
        print_hex(key);
    printf("  ");
    struct unpack u = unpack_start(value);
    if (is_packed(value) && *value.data >= 0x90)
        print_value(&u);
    else if (is_text(value))
        printf("%.*s", (int)value.size, (const char *)value.data);
    else
        print_hex(value);
    putchar('\n');
}

static enum err dump_rows(struct store *store, uint8_t table, uint64_t limit)
{
    struct table_txn *txn;
    struct table_cursor *cursor;
    struct buffer value = {0};
    enum err e = store_begin_read(&txn, store);
    if (e != OK) return e;
    e = table_cursor_open(&cursor, txn, table);
    if (e == OK) {
        uint64_t shown = 0;
        for (e = table_cursor_seek(cursor, (struct bytes){0}); e == OK && (!limit || shown < limit); shown++) {
            e = table_cursor_value(cursor, &value);
            if (e == ERR_CORRUPT) { /* say so and go on: a dump is for trouble */
                print_hex(table_cursor_key(cursor));
                printf("  (damaged: its seal does not open)\n");
            } else if (e == OK) {
                print_row(table_cursor_key(cursor), buffer_bytes(&value));
            } else {
                break;
            }
            e = table_cursor_next(cursor);
        }
        table_cursor_close(cursor);
    }
    buffer_free(&value);
    store_abort(txn);
    return e == ERR_NOT_FOUND ? OK : e;
}

struct log_dump {
    uint64_t limit, shown;
};

static bool print_record(void *data, const struct log_record *r)
{
    struct log_dump *d = data;
    printf("%s+%u %u bytes", r->file, r->offset, r->size);
    if (r->damaged && !r->header_known) {
        printf("  (damaged)\n");
        return !d->limit || ++d->shown < d->limit;
    }
    printf("  %s batch %" PRIu64 " index %" PRIu64 " term %" PRIu64, log_record_name(r->type), r->batch, r->index,
           r->term);
    if (r->type == LOG_STATE)
        printf(" vote %" PRIu64 " cosigned %" PRIu64 " of raft index %" PRIu64 " last %" PRIu64, r->vote,
               r->cosigned.size, r->cosigned.index, r->last);
    if (r->type == LOG_BLOCK || r->type == LOG_REPAIR) printf(" kind %u, %zu bytes", r->kind, r->payload.size);
    printf("%s\n", r->damaged ? "  (damaged)" : "");
    return !d->limit || ++d->shown < d->limit;
}

static enum err dump_log(const struct node_identity *id, uint64_t limit, struct failure *failure)
{
    struct log_options options = {.directory = id->log_directory, .name = "raft", .key = id->storage_key};
    struct log_dump d = {.limit = limit};
    return log_visit(&options, print_record, &d, failure);
}

void dump_list(void)
{
    printf("  %-16s the replicated log, from its segment files\n", "log");
    for (size_t i = 0; i < ledger_tables_count; i++)
        printf("  %-16s %s\n", ledger_tables[i].name,
               table_is_replicated((enum table_number)ledger_tables[i].table) ? "the same on every node"
                                                                              : "of this node");
}

static enum err unknown_table(const char *table, struct failure *failure)
{
    struct buffer names = {0};
    buffer_append_text(&names, "log");
    for (size_t i = 0; i < ledger_tables_count; i++)
        buffer_printf(&names, ", %s", ledger_tables[i].name);
    buffer_append(&names, "", 1);
    fail(failure, ERR_USAGE, "there is no table \"%s\"; there are: %s", table, (const char *)names.data);
    buffer_free(&names);
    return ERR_USAGE;
}

enum err dump_table(const struct node_identity *id, const char *table, uint64_t limit, struct failure *failure)
{
    if (strcmp(table, "log") == 0) return dump_log(id, limit, failure);
    for (size_t i = 0; i < ledger_tables_count; i++) {
        if (strcmp(ledger_tables[i].name, table) != 0) continue;
        struct store *store;
        struct store_options options = {.directory = id->state_directory, .tables = ledger_tables,
                                        .table_count = ledger_tables_count, .key = id->storage_key,
                                        .read_only = true};
        store_guard_install(NULL);
        enum err e = store_open(&store, &options, failure);
        if (e != OK) return e;
        e = dump_rows(store, ledger_tables[i].table, limit);
        store_close(store);
        return e == OK ? OK : fail(failure, e, "cannot read table %s: %s", table, err_text(e));
    }
    return unknown_table(table, failure);
}
