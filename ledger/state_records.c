/* Records, versions, what a read opened, and this node's facts about content. */
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"
#include "ledger/rows.h"
#include "ledger/state.h"

static void pack_version(struct buffer *b, const struct version *v)
{
    static const struct digest none;
    pack_array(b, 6);
    pack_uint(b, v->conf);
    pack_bool(b, v->deleted);
    pack_digest_optional(b, v->has_tag ? &v->content_tag : &none);
    pack_id(b, &v->author);
    pack_uint(b, v->time_ms);
    pack_uint(b, v->index);
}

static void unpack_version(struct version *out, struct unpack *u)
{
    unpack_array_of(u, 6);
    out->conf = (uint8_t)unpack_uint_max(u, CONF_MAX);
    out->deleted = unpack_bool(u);
    out->content_tag = unpack_digest_optional(u);
    out->has_tag = !digest_is_zero(&out->content_tag);
    out->author = unpack_id(u);
    out->time_ms = unpack_uint(u);
    out->index = unpack_uint(u);
}

static void version_key(uint8_t key[static 20], const struct id *id, uint32_t version)
{
    memcpy(key, id->bytes, 16);
    put_be32(key + 16, version);
}

enum err state_version_get(struct version *out, struct table_txn *txn, const struct id *id, uint32_t version)
{
    uint8_t key[20];
    struct row row;
    version_key(key, id, version);
    row_open(&row, txn, TABLE_VERSION, BYTES(key));
    memset(out, 0, sizeof *out);
    unpack_version(out, &row.u);
    return row_close(&row);
}

enum err state_record_get(struct record *out, struct table_txn *txn, const struct id *id)
{
    struct row row;
    row_open(&row, txn, TABLE_RECORD, BYTES(id->bytes));
    struct unpack *u = &row.u;
    memset(out, 0, sizeof *out);
    unpack_array_of(u, 5);
    out->patient = unpack_id_required(u);
    row_text(out->kind, sizeof out->kind, u);
    out->created = unpack_uint(u);
    out->latest = (uint32_t)unpack_uint_max(u, RECORD_VERSION_MAX);
    unpack_version(&out->version, u);
    return row_close(&row);
}

enum err state_version_put(struct table_txn *txn, const struct id *id, uint32_t version, const struct version *row)
{
    uint8_t key[20];
    struct buffer b = {0};
    version_key(key, id, version);
    pack_version(&b, row);
    return row_put(txn, TABLE_VERSION, BYTES(key), &b);
}

static enum err put_of_patient(struct table_txn *txn, const struct id *id, const struct record *record)
{
    uint8_t key[24];
    memcpy(key, record->patient.bytes, 16);
    put_be64(key + 16, record->created);
    return table_put(txn, TABLE_PATIENT_RECORD, BYTES(key), BYTES(id->bytes));
}

enum err state_record_put(struct table_txn *txn, const struct id *id, const struct record *record, bool created)
{
    struct buffer b = {0};
    CHECK(record->latest >= 1);
    pack_array(&b, 5);
    pack_id(&b, &record->patient);
    pack_text(&b, record->kind);
    pack_uint(&b, record->created);
    pack_uint(&b, record->latest);
    pack_version(&b, &record->version);
    enum err err = row_put(txn, TABLE_RECORD, BYTES(id->bytes), &b);
    if (err == OK) err = state_version_put(txn, id, record->latest, &record->version);
    if (err == OK && created) err = put_of_patient(txn, id, record);
    return err;
}

/* --- what was opened by a read --- */

#define OPENED_SIZE (16 + 4 + 8)
#define REST_SIZE (8 + 8) /* behind them, where there is any */

enum err state_opened_put(struct table_txn *txn, uint64_t index, const struct opened *rows, size_t count,
                          const struct opened_rest *rest)
{
    uint8_t key[8], *at;
    struct buffer b = {0};
    CHECK(count <= LIMIT_OPENED);
    put_be64(key, index);
    for (size_t i = 0; i < count && (at = buffer_extend(&b, OPENED_SIZE)) != NULL; i++) {
        memcpy(at, rows[i].record.bytes, 16);
        put_be32(at + 16, rows[i].version);
        put_be64(at + 20, rows[i].content);
    }
    if ((rest->next || rest->left_out) && (at = buffer_extend(&b, REST_SIZE)) != NULL) {
        put_be64(at, rest->next);
        put_be64(at + 8, rest->left_out);
    }
    return row_put(txn, TABLE_OPENED, BYTES(key), &b);
}

enum err opened_decode(size_t *count, struct opened_rest *rest, struct bytes value)
{
    size_t behind = value.size % OPENED_SIZE;
    *count = value.size / OPENED_SIZE;
    *rest = (struct opened_rest){0};
    if ((behind != 0 && behind != REST_SIZE) || *count > LIMIT_OPENED) return ERR_CORRUPT;
    if (behind == 0) return OK;
    const uint8_t *at = value.data + *count * OPENED_SIZE;
    *rest = (struct opened_rest){get_be64(at), get_be64(at + 8)};
    return rest->next || rest->left_out ? OK : ERR_CORRUPT;
}

struct bytes opened_compared(struct bytes value)
{
    bool has_rest = value.size % OPENED_SIZE == REST_SIZE;
    return bytes_of(value.data, value.size - (has_rest ? REST_SIZE : 0));
}

struct opened opened_at(struct bytes value, size_t position)
{
    const uint8_t *at = value.data + position * OPENED_SIZE;
    struct opened row = {.version = get_be32(at + 16), .content = get_be64(at + 20)};
    memcpy(row.record.bytes, at, 16);
    return row;
}

enum err state_opened_get(struct opened out[static LIMIT_OPENED], size_t *count, struct opened_rest *rest,
                          struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    struct buffer value = {0};
    size_t found = 0;
    put_be64(key, index);
    enum err err = table_get(txn, TABLE_OPENED, BYTES(key), &value);
    if (err == OK) err = opened_decode(&found, rest, buffer_bytes(&value));
    *count = err == OK ? found : 0;
    for (size_t i = 0; i < *count; i++) out[i] = opened_at(buffer_bytes(&value), i);
    buffer_free(&value);
    return err;
}

/* --- content, as this node has it --- */

static void copy_bin(uint8_t *out, size_t *size, size_t max, struct unpack *u)
{
    struct bytes v = unpack_bin(u, max);
    if (v.size) memcpy(out, v.data, v.size);
    *size = v.size;
}

enum err state_content_get(struct content_info *out, struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    struct row row;
    put_be64(key, index);
    row_open(&row, txn, TABLE_CONTENT_INFO, BYTES(key));
    unpack_array_of(&row.u, 4);
    copy_bin(out->context, &out->context_size, sizeof out->context, &row.u);
    copy_bin(out->capsule, &out->capsule_size, sizeof out->capsule, &row.u);
    out->ciphertext_hash = unpack_digest(&row.u);
    out->ciphertext_size = unpack_uint(&row.u);
    return row_close(&row);
}

enum err state_content_put(struct table_txn *txn, uint64_t index, const struct content_info *info)
{
    uint8_t key[8];
    struct buffer b = {0};
    put_be64(key, index);
    pack_array(&b, 4);
    pack_bin(&b, info->context, info->context_size);
    pack_bin(&b, info->capsule, info->capsule_size);
    pack_digest(&b, &info->ciphertext_hash);
    pack_uint(&b, info->ciphertext_size);
    return row_put(txn, TABLE_CONTENT_INFO, BYTES(key), &b);
}
