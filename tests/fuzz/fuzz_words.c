/* What people type, and what stands in a genesis for other hospitals' nodes: addresses, points in time, tokens, ids,
 * names of kinds, vital signs. The first byte says what the rest is. What is read is written back as what is
 * read the same, what is refused has words where there is room for them, and twice the same text is twice the same. */
#include <arpa/inet.h>
#include <ctype.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "cli/moment.h"
#include "cli/submit.h"
#include "cli/vitals.h"
#include "crypto/random.h"
#include "ledger/alarm.h"
#include "ledger/record.h"
#include "net/address.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1790000000123ull
#define SETTINGS_MOST 12

static void check_words(enum err e, const struct failure *why)
{
    CHECK(e == OK ? why->code == OK : why->code == e && why->text[0]);
}

/* --- addresses --- */

static void through_socket(const struct address *a)
{
    struct sockaddr_storage socket;
    struct address again;
    CHECK(address_to_socket(&socket, a) == (a->kind != ADDRESS_NAME));
    if (a->kind == ADDRESS_NAME) return;
    address_from_socket(&again, (struct sockaddr *)&socket);
    if (again.kind == a->kind)
        CHECK(address_equal(a, &again));
    else
        CHECK(strncmp(a->host, "::ffff:", 7) == 0 && strcmp(a->host + 7, again.host) == 0 && a->port == again.port);
    CHECK(address_is_wildcard(a) == (strcmp(a->host, "0.0.0.0") == 0 || strcmp(a->host, "::") == 0));
}

static void address(const char *text)
{
    struct address a, again, with_zero;
    struct failure why = {0};
    char written[ADDRESS_TEXT_SIZE];
    enum err e = address_parse(&a, text, false, &why), zero = address_parse(&with_zero, text, true, NULL);
    check_words(e, &why);
    CHECK(e != OK || (zero == OK && address_equal(&a, &with_zero) && a.port > 0));
    if (zero != OK) return;
    CHECK(e == OK || with_zero.port == 0);
    a = with_zero;
    fuzz_taken = true;
    address_format(written, &a);
    CHECK(address_parse(&again, written, true, NULL) == OK && address_equal(&a, &again) && again.kind == a.kind);
    CHECK(address_reaches(&a, &a));
    for (const char *p = a.host; *p; p++) CHECK(isgraph((unsigned char)*p) && !isupper((unsigned char)*p));
    through_socket(&a);
}

/* --- time --- */

/* Of "2026-01-31T14:00Z", in which every field has its digits; others are as lenient as strptime. */
static bool is_plain_utc(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd:ddZ";
    if (strlen(text) != sizeof form - 1) return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)text[i]) : form[i] != text[i]) return false;
    return true;
}

static void moment(const char *text)
{
    uint64_t at = 0, again = 0;
    struct failure why = {0};
    enum err e = moment_parse_at(&at, text, NOW, &why);
    check_words(e, &why);
    CHECK(moment_parse_at(&again, text, NOW, NULL) == e && at == again);
    if (e != OK) return;
    fuzz_taken = true;
    CHECK(at < UINT64_C(253402300800000) + 86400000); /* the year 9999 */
    time_t seconds = (time_t)(at / 1000);
    struct tm tm;
    char written[32];
    CHECK(gmtime_r(&seconds, &tm) && strftime(written, sizeof written, "%Y-%m-%dT%H:%MZ", &tm));
    if (is_plain_utc(text)) CHECK(strcmp(text, written) == 0);
    if (tm.tm_year + 1900 <= 9999) CHECK(moment_parse_at(&again, written, NOW, NULL) == OK && again == at - at % 60000);
}

/* --- tokens, ids, kinds --- */

static void token(const char *text)
{
    uint64_t ms, ms_again;
    struct id id, again;
    char written[REQUEST_TOKEN_SIZE];
    if (request_token_parse(&ms, &id, text) != OK) return;
    fuzz_taken = true;
    request_token_format(written, ms, &id);
    CHECK(request_token_parse(&ms_again, &again, written) == OK && ms == ms_again && id_equal(&id, &again));
    CHECK(strcasecmp(text + strlen(text) - 26, written + strlen(written) - 26) == 0);
}

static void id(const char *text)
{
    struct id id;
    char written[ID_TEXT_SIZE];
    if (id_parse(&id, text) != OK) return;
    fuzz_taken = true;
    id_format(written, &id);
    CHECK(strcasecmp(text, written) == 0);
}

static void confidentiality(const char *text)
{
    enum confidentiality conf;
    if (confidentiality_parse(&conf, text) != OK) return;
    fuzz_taken = true;
    CHECK(conf <= CONF_MAX && text[1] == '\0' && toupper((unsigned char)text[0]) == confidentiality_letter(conf));
}

static void alarm_kind(const char *text)
{
    enum alarm_kind kind;
    if (!alarm_kind_parse(&kind, text)) return;
    fuzz_taken = true;
    CHECK(strcmp(alarm_kind_text(kind), text) == 0 && alarm_kind_meaning(kind)[0] && alarm_kind_place(kind)[0]);
}

/* --- vital signs --- */

/* A setting a line. */
static void vitals(char *text)
{
    const char *settings[SETTINGS_MOST], *kind = NULL, *kind_again = NULL;
    size_t count = 0;
    struct id patient = {{1, 2, 3}};
    struct buffer out = {0}, again = {0};
    struct failure why = {0};
    for (char *next = text; next && count < SETTINGS_MOST; count++) settings[count] = strsep(&next, "\n");
    enum err e = vitals_format(&out, &kind, settings, count, &patient, NOW, &why);
    check_words(e, &why);
    CHECK(vitals_format(&again, &kind_again, settings, count, &patient, NOW, NULL) == e);
    if (e == OK) {
        json_t *json = json_loadb((const char *)out.data, out.size, JSON_REJECT_DUPLICATES, NULL);
        const char *type = json_string_value(json_object_get(json, "resourceType"));
        CHECK(type && strcmp(type, kind) == 0 && strcmp(kind, count > 1 ? "Bundle" : "Observation") == 0);
        if (count > 1) CHECK(json_array_size(json_object_get(json, "entry")) == count);
        CHECK(bytes_equal(buffer_bytes(&out), buffer_bytes(&again)));
        json_decref(json);
        fuzz_taken = true;
    }
    buffer_free(&out);
    buffer_free(&again);
}

/* In local time with changes of the clock, wherever this runs. */
static void begin(void)
{
    static bool begun;
    if (begun) return;
    crypto_init();
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    begun = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    begin();
    char *text = xcalloc(size, 1); /* of its size, with an end */
    memcpy(text, data + 1, size - 1);
    switch (data[0]) {
    case 'a': address(text); break;
    case 'm': moment(text); break;
    case 't': token(text); break;
    case 'i': id(text); break;
    case 'c': confidentiality(text); break;
    case 'k': alarm_kind(text); break;
    case 'v': vitals(text); break;
    }
    free(text);
    return 0;
}
