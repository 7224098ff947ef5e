#include "tests/lib/attack_bed.h"

#include <string.h>
#include <unistd.h>

#include "net/protocol.h"

struct attacker them;
struct signer doctor, nurse, patient, left;
struct said said_last;

void attack_begin(void)
{
    char ids[4][ID_TEXT_SIZE];
    testbed_make(&bed, 4, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_user(&bed, "doctor", "Hospital 1", "doctor", ids[0]);
    testbed_user(&bed, "nurse", "Hospital 1", "nurse", ids[1]);
    testbed_user(&bed, "patient", "Hospital 1", "patient", ids[2]);
    testbed_user(&bed, "doctor", "Hospital 1", "left", ids[3]);
    testbed_expect(&bed, 0, &out, "-i %s --yes user disable %s", bed.admin, ids[3]);
    testbed_user(&bed, "registrar", "Hospital 1", "registrar", ids[3]);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key team add %s %s", bed.dir, ids[2], ids[0]);
    attacker_open(&them, &bed);
    doctor = attacker_signer(&them, "doctor");
    nurse = attacker_signer(&them, "nurse");
    patient = attacker_signer(&them, "patient");
    left = attacker_signer(&them, "left");
}

int attack_end(void **state)
{
    said_free(&said_last);
    signer_close(&doctor);
    signer_close(&nurse);
    signer_close(&patient);
    signer_close(&left);
    attacker_close(&them);
    return bed_end(state);
}

struct ledger_mark settled(void)
{
    for (unsigned tries = 0; tries < TESTBED_PATIENCE_S * 50; tries++) {
        struct ledger_mark first = attacker_mark(&them, 1);
        bool same = true;
        for (unsigned node = 2; node <= bed.n; node++) {
            struct ledger_mark other = attacker_mark(&them, node);
            same = same && other.size == first.size && digest_equal(&other.root, &first.root);
        }
        if (same) return first;
        usleep(20000);
    }
    testbed_fail(&bed, "the nodes do not agree");
}

void assert_unchanged(const struct ledger_mark *before)
{
    struct ledger_mark now = settled();
    if (now.size != before->size || !digest_equal(&now.root, &before->root))
        testbed_fail(&bed, "the ledger has %llu entries, and had %llu", (unsigned long long)now.size,
                     (unsigned long long)before->size);
}

void assert_failed(enum err code)
{
    const struct said *s = &said_last;
    if (s->type != MESSAGE_FAILED || s->code != code || strcmp(s->text, err_text(code)) != 0)
        testbed_fail(&bed, "expected %s (%s), got type %u, %s (%s)", err_name(code), err_text(code), s->type,
                     err_name(s->code), s->text);
}
