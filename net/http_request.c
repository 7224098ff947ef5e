#include "net/http_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <llhttp.h>

#include "base/check.h"

#define FIELD_MAX 16 /* longer names are none that we look at */

enum field { FIELD_OTHER, FIELD_HOST, FIELD_IF_NONE_MATCH };

struct http_reader {
    llhttp_t parser;
    struct http_request request;
    size_t size;        /* bytes of the present request so far */
    size_t target_size; /* in request.path, before it is made a path */
    unsigned status;    /* of a refusal; 0: none */
    bool complete;
    unsigned fields, hosts;
    char name[FIELD_MAX + 1];
    size_t name_size;
    enum field field;
    size_t tag_size; /* LIMIT_HTTP_TAG + 1: too long */
};

static struct http_reader *reader_of(llhttp_t *parser) { return parser->data; }

static int refuse(struct http_reader *r, unsigned status)
{
    r->status = status;
    return HPE_USER;
}

/* --- the request line --- */

static int on_begin(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    r->request = (struct http_request){0};
    r->target_size = r->name_size = r->tag_size = 0;
    r->fields = r->hosts = 0;
    r->field = FIELD_OTHER;
    return HPE_OK;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    if (size > LIMIT_HTTP_TARGET - r->target_size) return refuse(r, 414);
    memcpy(r->request.path + r->target_size, at, size);
    r->target_size += size;
    r->request.path[r->target_size] = '\0';
    return HPE_OK;
}

/* RFC 9112 3.2.2: a server takes "https://host/path" like "/path". The query is nobody's here. */
static bool make_path(struct http_reader *r)
{
    char *path = r->request.path, *from = path;
    size_t scheme = strncasecmp(path, "https://", 8) == 0 ? 8 : strncasecmp(path, "http://", 7) == 0 ? 7 : 0;
    path[strcspn(path, "?#")] = '\0';
    if (scheme) {
        from = strchr(path + (scheme < strlen(path) ? scheme : strlen(path)), '/');
        if (!from) from = strcpy(path, "/");
    }
    if (*from != '/') return false;
    memmove(path, from, strlen(from) + 1);
    return true;
}

/* --- header fields --- */

static int on_field(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    for (size_t i = 0; i < size && r->name_size <= FIELD_MAX; i++)
        if (r->name_size++ < FIELD_MAX) r->name[r->name_size - 1] = at[i];
    return HPE_OK;
}

static enum field field_of(const struct http_reader *r)
{
    static const struct { const char *name; enum field field; } known[] = {
        {"host", FIELD_HOST}, {"if-none-match", FIELD_IF_NONE_MATCH}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (r->name_size == strlen(known[i].name) && strncasecmp(r->name, known[i].name, r->name_size) == 0)
            return known[i].field;
    return FIELD_OTHER;
}

static void add_tag(struct http_reader *r, const char *at, size_t size)
{
    if (r->tag_size > LIMIT_HTTP_TAG || size > LIMIT_HTTP_TAG - r->tag_size) {
        r->tag_size = LIMIT_HTTP_TAG + 1;
        r->request.if_none_match[0] = '\0';
        return;
    }
    memcpy(r->request.if_none_match + r->tag_size, at, size);
    r->tag_size += size;
    r->request.if_none_match[r->tag_size] = '\0';
}

static int on_field_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    r->field = field_of(r);
    r->name_size = 0;
    if (++r->fields > LIMIT_HTTP_FIELDS) return refuse(r, 431);
    if (r->field == FIELD_HOST) r->hosts++;
    if (r->field == FIELD_IF_NONE_MATCH && r->tag_size) add_tag(r, ", ", 2);
    return HPE_OK;
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    struct http_reader *r = reader_of(parser);
    if (r->field == FIELD_IF_NONE_MATCH) add_tag(r, at, size);
    return HPE_OK;
}

/* --- the whole --- */

static bool has_body(const llhttp_t *parser)
{
    return (parser->flags & (F_CHUNKED | F_TRANSFER_ENCODING)) || parser->content_length > 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    if (parser->http_major != 1) return refuse(r, 505);
    if (parser->method != HTTP_GET && parser->method != HTTP_HEAD) return refuse(r, 405);
    if (has_body(parser)) return refuse(r, 413);
    if (r->hosts > 1 || (r->hosts == 0 && parser->http_minor > 0)) return refuse(r, 400); /* RFC 9112 3.2 */
    if (!make_path(r)) return refuse(r, 400);
    parser->upgrade = 0; /* asked for or not: RFC 9110 7.8 lets a server ignore it */
    r->request.head = parser->method == HTTP_HEAD;
    return HPE_OK;
}

static int on_complete(llhttp_t *parser)
{
    struct http_reader *r = reader_of(parser);
    r->request.keep_alive = llhttp_should_keep_alive(parser);
    r->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t SETTINGS = {
    .on_message_begin = on_begin, .on_url = on_url, .on_header_field = on_field,
    .on_header_field_complete = on_field_complete, .on_header_value = on_value,
    .on_headers_complete = on_headers_complete, .on_message_complete = on_complete,
};

struct http_reader *http_reader_new(void)
{
    struct http_reader *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    llhttp_init(&r->parser, HTTP_REQUEST, &SETTINGS);
    r->parser.data = r;
    return r;
}

void http_reader_free(struct http_reader *r) { free(r); }

static unsigned status_of(llhttp_errno_t code)
{
    if (code == HPE_INVALID_METHOD) return 501;
    if (code == HPE_INVALID_VERSION || code == HPE_PAUSED_H2_UPGRADE) return 505;
    return 400;
}

static enum http_outcome refused(struct http_reader *r, unsigned status)
{
    if (!r->status) r->status = status;
    return HTTP_REFUSED;
}

enum http_outcome http_reader_feed(struct http_reader *r, size_t *used, struct bytes in)
{
    *used = 0;
    if (r->status) return HTTP_REFUSED;
    if (r->complete) {
        r->complete = false;
        r->size = 0;
        llhttp_resume(&r->parser);
    }
    size_t room = LIMIT_HTTP_HEAD - r->size, size = in.size < room ? in.size : room;
    if (in.size == 0) return HTTP_INCOMPLETE;
    if (size == 0) return refused(r, 431);
    llhttp_errno_t code = llhttp_execute(&r->parser, (const char *)in.data, size);
    if (code == HPE_PAUSED && r->complete) {
        *used = (size_t)((const uint8_t *)llhttp_get_error_pos(&r->parser) - in.data);
        CHECK(*used <= size);
        return HTTP_COMPLETE;
    }
    if (code != HPE_OK) return refused(r, status_of(code));
    *used = size;
    r->size += size;
    return size < in.size ? refused(r, 431) : HTTP_INCOMPLETE;
}

const struct http_request *http_reader_request(const struct http_reader *r)
{
    CHECK(r->complete);
    return &r->request;
}

bool http_reader_begun(const struct http_reader *r) { return r->size > 0 && !r->complete; }

unsigned http_reader_status(const struct http_reader *r)
{
    CHECK(r->status != 0);
    return r->status;
}
