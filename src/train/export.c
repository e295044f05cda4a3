/* The command `export`: writes, loads again, compares, and only then gives the folder its name. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export_parts.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "source.h"

static const struct {
    const char *name;
    rf_export_format format;
    const char *loading; /* for README.md */
} formats[] = {
    {"peft", RF_EXPORT_PEFT, "`PeftModel.from_pretrained(base_model, \"this folder\")`"},
    {"merged", RF_EXPORT_MERGED, "`AutoModelForCausalLM.from_pretrained(\"this folder\")`"},
    {"pruned", RF_EXPORT_PRUNED, "`AutoModelForCausalLM.from_pretrained(\"this folder\")`"},
    {"gguf", RF_EXPORT_GGUF, "`llama-cli -m model.gguf`"},
    {"gguf-adapter", RF_EXPORT_GGUF_ADAPTER, "`llama-cli -m BASE.gguf --lora adapter.gguf`"},
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

int rf_export_format_named(rf_export_format *format, const char *name)
{
    for (int i = 0; i < FORMATS; i++) {
        if (strcmp(formats[i].name, name) != 0) continue;
        *format = formats[i].format;
        return 1;
    }
    return 0;
}

/* One export. */
typedef struct exporting {
    const rf_environment *env;
    const rf_export_options *options;
    rf_dtype dtype;
    export_probe probe;
    export_stage stage;
    char method[256], origin[PATH_MAX], base[PATH_MAX], digest[65]; /* for README.md */
    int is_recovery; /* the adapter of a pruned model, for the whole base */
} exporting;

static rf_status check_source(const source *from, const rf_session *s)
{
    const char *digest =
        from->checkpoint ? rf_checkpoint_attribute(from->checkpoint, "base_digest") : NULL;
    if (!from->checkpoint && !from->peft)
        return rf_fail(RF_USAGE,
                       "there is nothing trained to export (eval.adapter = %s, output = %s). Train "
                       "first, or name a run, a checkpoint or a PEFT folder by eval.adapter",
                       rf_config_string(s->config, "eval.adapter"),
                       rf_config_string(s->config, "output"));
    if (s->bottleneck.size > 0)
        return rf_fail(RF_USAGE,
                       "method '%s' trains bottlenecks, which neither PEFT folders nor models of "
                       "this architecture can hold (--format). The run's folder adapter/ has them",
                       rf_config_string(s->trained, "method"));
    if (s->is_estimating)
        return rf_fail(RF_USAGE,
                       "the checkpoint '%s' is of the estimation stage, before its prune: there is "
                       "no model to export yet. Train on",
                       rf_checkpoint_path(from->checkpoint));
    if (!digest || !s->base_digest[0] || strcmp(digest, s->base_digest) == 0) return RF_OK;
    return rf_fail(RF_CONFLICT,
                   "the checkpoint '%s' was made with another base model: its base_digest is "
                   "%.16s..., now it is %.16s... (model.path). Put the old one back",
                   rf_checkpoint_path(from->checkpoint), digest, s->base_digest);
}

static rf_status plain_dtype(const exporting *x, const rf_model_config *model, rf_dtype *dtype)
{
    static const struct {
        const char *hf;
        rf_dtype dtype;
    } known[] = {{"bfloat16", RF_BF16}, {"float16", RF_F16}};
    *dtype = RF_F32;
    for (int i = 0; i < 2; i++)
        if (strcmp(model->dtype, known[i].hf) == 0) *dtype = known[i].dtype;
    if (!x->options->dtype) return RF_OK;
    if (rf_dtype_named(dtype, x->options->dtype) &&
        (*dtype == RF_F32 || *dtype == RF_BF16 || *dtype == RF_F16 ||
         (*dtype == RF_Q8_0 && x->options->format == RF_EXPORT_GGUF)))
        return RF_OK;
    return rf_fail(RF_USAGE,
                   "--dtype %s is no type of this format (refract export). Use f32, bf16 "
                   "or f16; for gguf q8_0, too",
                   x->options->dtype);
}

void export_name_dtype(rf_model_config *model, rf_dtype dtype)
{
    snprintf(model->dtype, sizeof model->dtype, "%s",
             dtype == RF_BF16  ? "bfloat16"
             : dtype == RF_F16 ? "float16"
                               : "float32");
}

static rf_status write_merged(const exporting *x, const rf_session *s)
{
    rf_model_config model = s->model;
    export_name_dtype(&model, x->dtype);
    RF_TRY_ALL(s->world,
               x->stage.is_root ? rf_export_side_files(s, &model, x->stage.folder) : RF_OK);
    return export_write_merged(s, x->stage.folder, x->dtype);
}

static int is_adapter(const exporting *x)
{
    return x->options->format == RF_EXPORT_PEFT || x->options->format == RF_EXPORT_GGUF_ADAPTER;
}

/* What is to be loaded again. */
static rf_status written_path(const exporting *x, char path[PATH_MAX])
{
    const char *name = x->options->format == RF_EXPORT_GGUF           ? "/model.gguf"
                       : x->options->format == RF_EXPORT_GGUF_ADAPTER ? "/adapter.gguf"
                                                                      : "";
    if (snprintf(path, PATH_MAX, "%s%s", x->stage.folder, name) < PATH_MAX) return RF_OK;
    return rf_fail(RF_USAGE, "'%.200s' is too long a path (--out)", x->options->out);
}

static rf_status check_whole(const exporting *x, const rf_session *s)
{
    if (!s->pruning || is_adapter(x) || x->options->format == RF_EXPORT_PRUNED) return RF_OK;
    return rf_fail(RF_USAGE,
                   "the model was pruned: merged, its base would lack parts (--format). Use "
                   "--format pruned, or peft for the whole base");
}

static rf_status write_format(const exporting *x, const rf_session *s)
{
    RF_TRY_ALL(s->world, check_whole(x, s));
    switch (x->options->format) {
    case RF_EXPORT_PEFT:
        return rf_export_adapter(s, x->stage.folder);
    case RF_EXPORT_MERGED:
        return write_merged(x, s);
    case RF_EXPORT_PRUNED:
        return rf_export_pruned(s, x->stage.folder, x->dtype);
    case RF_EXPORT_GGUF:
        return export_write_gguf(s, x->stage.folder, x->dtype);
    case RF_EXPORT_GGUF_ADAPTER:
        return export_write_gguf_adapter(s, x->stage.folder);
    }
    return RF_OK;
}

static void describe(exporting *x, const source *from, const rf_session *s)
{
    const char *origin = from->checkpoint ? rf_checkpoint_path(from->checkpoint) : from->peft;
    snprintf(x->method, sizeof x->method, "%s",
             from->peft ? "as in the PEFT folder" : rf_config_string(s->trained, "method"));
    snprintf(x->origin, sizeof x->origin, "%s", origin);
    snprintf(x->base, sizeof x->base, "%s", rf_config_string(s->config, "model.path"));
    snprintf(x->digest, sizeof x->digest, "%s", s->base_digest);
    x->is_recovery = s->pruning && is_adapter(x);
}

/* The trained model: its logits are kept, the folder is written. */
static rf_status write_trained(exporting *x, const source *from, rf_session *s)
{
    RF_TRY(export_probe_open(&x->probe, s));
    const rf_bounds bounds = export_probe_bounds(&x->probe);
    RF_TRY_ALL(s->world, plain_dtype(x, &s->model, &x->dtype));
    RF_TRY(rf_session_plan(s, &bounds, 0, source_has_weights(from, s)));
    rf_session_print_plan(s);
    RF_TRY(rf_session_allocate(s));
    RF_TRY(rf_session_weights(s));
    RF_TRY_ALL(s->world, check_source(from, s));
    RF_TRY(source_read(from, s));
    describe(x, from, s);
    rf_decoder_prepare(s->decoder);
    RF_TRY(export_probe_take(&x->probe, s->decoder));
    RF_TRY(export_stage_open(&x->stage, s->world, x->options->out, x->options->force));
    return write_format(x, s);
}

static rf_status run_trained(exporting *x, rf_config *config)
{
    source from = {0};
    rf_session session = {0};
    rf_status status = source_find(&from, config, x->env);
    if (status == RF_OK && !from.checkpoint && !from.peft) {
        session.config = config;
        status = rf_agree(x->env->world, check_source(&from, &session));
    } else if (status == RF_OK) {
        status = source_open_session(&from, &session, config, x->env);
        if (status == RF_OK) status = write_trained(x, &from, &session);
        rf_session_close(&session);
    }
    source_close(&from);
    return status;
}

/* The configuration with what was written in place of base or adapter. */
static rf_status configure_again(rf_config **again, const rf_config *config, const exporting *x)
{
    /* no text is read: a folder without a tokeniser will do */
    static const char *const fresh[] = {
        "model.init=pretrained", "lora.start=null", "model.tokenizer=auto", "data.format=tokens",
        "data.train=null",       "data.eval=null",  "model.storage=auto"};
    char path[PATH_MAX];
    RF_TRY(written_path(x, path));
    char *yaml = rf_config_yaml(config);
    if (!yaml) return rf_fail(RF_RESOURCES, "no memory for a configuration");
    const rf_status status = rf_config_parse(again, yaml, strlen(yaml), "the exported model", fresh,
                                             is_adapter(x) ? 6 : 7);
    free(yaml);
    RF_TRY(status);
    rf_config_resolve_string(*again, is_adapter(x) ? "eval.adapter" : "model.path", path);
    if (!is_adapter(x)) rf_config_resolve_string(*again, "eval.adapter", "none");
    return RF_OK;
}

static rf_status compare_with(const exporting *x, const source *from, rf_session *s,
                              export_difference *difference)
{
    const rf_bounds bounds = export_probe_bounds(&x->probe);
    RF_TRY(rf_session_plan(s, &bounds, 0, source_has_weights(from, s)));
    RF_TRY(rf_session_allocate(s));
    RF_TRY(rf_session_weights(s));
    rf_decoder_prepare(s->decoder);
    return export_probe_compare(&x->probe, s->decoder, difference);
}

/* Reads back what was written and measures how far it is from the trained model. */
static rf_status load_again(const exporting *x, const rf_config *config,
                            export_difference *difference)
{
    char path[PATH_MAX] = "";
    const source from = {.peft = is_adapter(x) ? path : NULL};
    rf_config *again = NULL;
    rf_session session = {0};
    rf_status status = written_path(x, path);
    if (status == RF_OK) status = configure_again(&again, config, x);
    status = rf_agree(x->env->world, status);
    if (status == RF_OK) {
        status = source_open_session(&from, &session, again, x->env);
        if (status == RF_OK) status = compare_with(x, &from, &session, difference);
        rf_session_close(&session);
    }
    rf_config_destroy(&again);
    return status;
}

static const char *library_of(const exporting *x)
{
    switch (x->options->format) {
    case RF_EXPORT_PEFT:
        return "library_name: peft\n";
    case RF_EXPORT_MERGED:
    case RF_EXPORT_PRUNED:
        return "library_name: transformers\n";
    default:
        return "";
    }
}

static rf_status write_readme(const exporting *x, const export_difference *d)
{
    char path[PATH_MAX + 16];
    char *text = NULL;
    int i = 0;
    while (formats[i].format != x->options->format) i++;
    const int length = asprintf(
        &text,
        "---\nbase_model: %s\n%s---\n\n# %s\n\n" EXPORT_MARK " --format %s.\n\n"
        "* Load it with %s.\n* Method: %s\n* Trained state: %s\n* Base model: %s\n"
        "* SHA-256 of the base's tensors: %s\n* Numbers: %s\n"
        "* Compared with the trained model, on %s (%lld tokens): largest difference of a logit "
        "%.3g, relative to the largest logit %.3g\n%s",
        x->base, library_of(x), is_adapter(x) ? "Adapter" : "Model", formats[i].name,
        formats[i].loading, x->method, x->origin, x->base, x->digest,
        rf_dtype_name(is_adapter(x) ? RF_F32 : x->dtype), x->probe.source,
        (long long)x->probe.tokens, d->absolute, d->absolute / d->largest,
        x->is_recovery ? "* The model was pruned. This adapter is for the whole base, whose heads "
                         "and neurons compute again: that is most of the difference.\n"
                       : "");
    if (length < 0) return rf_fail(RF_RESOURCES, "no memory for README.md");
    snprintf(path, sizeof path, "%s/README.md", x->stage.folder);
    const rf_status status = rf_file_write(path, text, (size_t)length);
    free(text);
    return status;
}

static rf_status judge(const exporting *x, const export_difference *d)
{
    if (isfinite(d->absolute)) return RF_OK;
    return rf_fail(RF_NONFINITE,
                   "logits of the exported model are not finite (--format, --dtype %s). Try "
                   "--dtype f32",
                   rf_dtype_name(x->dtype));
}

static rf_status run(exporting *x, rf_config *config)
{
    export_difference difference = {0};
    rf_log *log = x->env->log;
    RF_TRY(run_trained(x, config));
    rf_log_info(log, "written, loading it again");
    RF_TRY(load_again(x, config, &difference));
    RF_TRY_ALL(x->env->world, judge(x, &difference));
    RF_TRY_ALL(x->env->world, x->stage.is_root ? write_readme(x, &difference) : RF_OK);
    RF_TRY(export_stage_publish(&x->stage));
    rf_log_info(log, "compared on %s: largest difference of a logit %.3g, relative %.3g",
                x->probe.source, difference.absolute, difference.absolute / difference.largest);
    rf_log_info(log, "exported: %s", x->options->out);
    return RF_OK;
}

rf_status rf_export(rf_config *config, const rf_environment *environment,
                    const rf_export_options *options)
{
    exporting x = {.env = environment, .options = options};
    const rf_status status = run(&x, config);
    export_stage_close(&x.stage);
    export_probe_close(&x.probe);
    return status;
}
