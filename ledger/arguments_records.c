/* Arguments of record.* and event.add. */
#include "ledger/arguments.h"
#include "ledger/fields.h"

static enum confidentiality unpack_conf(struct unpack *u)
{
    return (enum confidentiality)unpack_uint_max(u, CONF_MAX);
}

void args_record_create_encode(struct buffer *out, const struct args_record_create *a)
{
    pack_array(out, 5);
    pack_id(out, &a->record);
    pack_id(out, &a->patient);
    pack_str(out, a->kind);
    pack_uint(out, a->conf);
    pack_digest_optional(out, &a->content_tag);
}

enum err args_record_create_decode(struct args_record_create *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 5);
    a->record = unpack_id_required(&u);
    a->patient = unpack_id_required(&u);
    a->kind = unpack_label(&u);
    a->conf = unpack_conf(&u);
    a->content_tag = unpack_digest_optional(&u);
    return unpack_done(&u);
}

void args_record_update_encode(struct buffer *out, const struct args_record_update *a)
{
    pack_array(out, 5);
    pack_id(out, &a->record);
    pack_id(out, &a->patient);
    pack_uint(out, a->base_version);
    pack_uint(out, a->conf);
    pack_digest_optional(out, &a->content_tag);
}

enum err args_record_update_decode(struct args_record_update *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 5);
    a->record = unpack_id_required(&u);
    a->patient = unpack_id_required(&u);
    a->base_version = unpack_range(&u, 1, RECORD_VERSION_MAX - 1);
    a->conf = unpack_conf(&u);
    a->content_tag = unpack_digest_optional(&u);
    return unpack_done(&u);
}

void args_record_delete_encode(struct buffer *out, const struct args_record_delete *a)
{
    pack_array(out, 3);
    pack_id(out, &a->record);
    pack_id(out, &a->patient);
    pack_uint(out, a->base_version);
}

enum err args_record_delete_decode(struct args_record_delete *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->record = unpack_id_required(&u);
    a->patient = unpack_id_required(&u);
    a->base_version = unpack_range(&u, 1, RECORD_VERSION_MAX - 1);
    return unpack_done(&u);
}

void args_record_read_encode(struct buffer *out, const struct args_record_read *a)
{
    pack_array(out, 6);
    pack_id_optional(out, &a->record);
    pack_uint(out, a->version);
    pack_id_optional(out, &a->patient);
    pack_bin(out, a->reader_key.bytes, sizeof a->reader_key.bytes);
    pack_bytes(out, a->cursor);
    pack_uint(out, a->limit);
}

static bool is_zero(const uint8_t *data, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++)
        any |= data[i];
    return any == 0;
}

/* One record, or the chart of one patient, for a key that is there. */
static bool read_valid(const struct args_record_read *a)
{
    bool record = !id_is_zero(&a->record), patient = !id_is_zero(&a->patient);
    return record != patient && (record || a->version == 0) &&
           !is_zero(a->reader_key.bytes, sizeof a->reader_key.bytes);
}

enum err args_record_read_decode(struct args_record_read *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 6);
    a->record = unpack_id_optional(&u);
    a->version = unpack_uint_max(&u, RECORD_VERSION_MAX);
    a->patient = unpack_id_optional(&u);
    unpack_bin_exact(&u, a->reader_key.bytes, sizeof a->reader_key.bytes);
    a->cursor = unpack_bin(&u, LIMIT_CURSOR);
    a->limit = (uint32_t)unpack_range(&u, 1, LIMIT_OPENED);
    if (!read_valid(a)) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void args_record_history_encode(struct buffer *out, const struct args_record_history *a)
{
    pack_array(out, 1);
    pack_id(out, &a->record);
}

enum err args_record_history_decode(struct args_record_history *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 1);
    a->record = unpack_id_required(&u);
    return unpack_done(&u);
}

void args_record_copy_encode(struct buffer *out, const struct args_record_copy *a)
{
    pack_array(out, 7);
    pack_id(out, &a->source);
    pack_uint(out, a->source_version);
    pack_id(out, &a->record);
    pack_id(out, &a->patient);
    pack_str(out, a->kind);
    pack_uint(out, a->conf);
    pack_digest_optional(out, &a->content_tag);
}

enum err args_record_copy_decode(struct args_record_copy *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 7);
    a->source = unpack_id_required(&u);
    a->source_version = unpack_range(&u, 1, RECORD_VERSION_MAX);
    a->record = unpack_id_required(&u);
    a->patient = unpack_id_required(&u);
    a->kind = unpack_label(&u);
    a->conf = unpack_conf(&u);
    a->content_tag = unpack_digest_optional(&u);
    return unpack_done(&u);
}

void args_record_list_encode(struct buffer *out, const struct args_record_list *a)
{
    pack_array(out, 3);
    pack_id(out, &a->patient);
    pack_bytes(out, a->cursor);
    pack_uint(out, a->limit);
}

enum err args_record_list_decode(struct args_record_list *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->patient = unpack_id_required(&u);
    a->cursor = unpack_bin(&u, LIMIT_CURSOR);
    a->limit = (uint32_t)unpack_range(&u, 1, LIMIT_ROWS);
    return unpack_done(&u);
}

void args_event_add_encode(struct buffer *out, const struct args_event_add *a)
{
    pack_array(out, 3);
    pack_id(out, &a->patient);
    pack_str(out, a->what);
    pack_str(out, a->object);
}

enum err args_event_add_decode(struct args_event_add *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->patient = unpack_id_required(&u);
    a->what = unpack_code(&u, 1, LIMIT_NAME);
    a->object = unpack_code(&u, 0, LIMIT_CODE);
    return unpack_done(&u);
}
