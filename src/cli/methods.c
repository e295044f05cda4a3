/* refract methods */
#include <stdio.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/method/registry.h"

static const rf_cli_usage usage = {
    .name = "methods",
    .arguments = "[NAME...]",
    .text = "Prints every method, or those named: what it does, its paper, what it combines with, "
            "and the keys it reads with their defaults.",
    .least = 0,
    .most = -1,
};

static void print_partners(const rf_method_entry *method)
{
    int count = 0;
    for (int i = 0; i < rf_method_count(); i++) {
        const rf_method_entry *other = rf_method_at(i);
        if (other == method || !rf_method_joins(method, other)) continue;
        printf("%s%s", count++ ? ", " : "  combines with ", other->name);
    }
    puts(count ? "" : "  combines with nothing");
}

static void print_method(const rf_method_entry *method)
{
    printf("%s: %s\n", method->name, method->summary);
    if (method->paper[0]) printf("  %s\n", method->paper);
    print_partners(method);
    for (const char *at = method->sections; *at; at += strspn(at, " ")) {
        char section[64];
        const size_t length = strcspn(at, " ");
        snprintf(section, sizeof section, "%.*s", (int)length, at);
        rf_config_print_section(stdout, section);
        at += length;
    }
    putchar('\n');
}

rf_status rf_cli_methods(rf_cli *cli, int argc, char **argv)
{
    rf_cli_arguments arguments = {0};
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, NULL, &arguments));
    if (arguments.is_help) return RF_OK;
    for (int i = 0; i < arguments.count; i++)
        if (!rf_method_find(arguments.items[i]))
            return rf_fail(RF_USAGE, "unknown method '%s' (command line). See refract methods",
                           arguments.items[i]);
    if (cli->rank != 0) return RF_OK;
    for (int i = 0; i < arguments.count; i++) print_method(rf_method_find(arguments.items[i]));
    for (int i = 0; arguments.count == 0 && i < rf_method_count(); i++)
        print_method(rf_method_at(i));
    return RF_OK;
}
