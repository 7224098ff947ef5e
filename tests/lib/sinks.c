#include "tests/lib/sinks.h"

struct sink *mail, *hook;

void sinks_start(enum sink_kind mail_kind)
{
    mail = sink_start(mail_kind, in_bed("mail.pem"));
    hook = sink_start(SINK_HTTPS, in_bed("hook.pem"));
    shell("cat mail.pem hook.pem >ca.pem");
}

int sinks_end(void **state)
{
    bed_end(state);
    sink_stop(mail);
    sink_stop(hook);
    return 0;
}
