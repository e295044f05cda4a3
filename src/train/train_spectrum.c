/* telemetry.spectrum_every: the spectrum of the present state, OUTPUT/spectra/step-NNNNNNNN.h5. */
#include <stdio.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "train_parts.h"

static int64_t every(const training *t)
{
    return rf_config_int(t->config, "telemetry.spectrum_every");
}

rf_status training_spectrum_start(training *t)
{
    spectrum_list_destroy(&t->spectra);
    t->spectra = (spectrum_list){0};
    return every(t) > 0 ? rf_agree(t->env->world, spectrum_list_make(&t->spectra, &t->session))
                        : RF_OK;
}

static rf_status write_file(const training *t)
{
    char name[64], path[4096];
    rf_attribute attributes[RF_ORIGIN_ATTRIBUTES + 1];
    const rf_origin origin = training_origin(t);
    const int count = rf_origin_attributes(&origin, attributes);
    attributes[count] = (rf_attribute){.name = "step", .number = t->trainer.step};
    if (t->session.grid.rank != 0) return RF_OK;
    RF_TRY(rf_run_folder_file(t->run.folder, "spectra", path, sizeof path));
    RF_TRY(rf_folder_make(path));
    snprintf(name, sizeof name, "spectra/step-%08lld.h5", (long long)t->trainer.step);
    RF_TRY(rf_run_folder_file(t->run.folder, name, path, sizeof path));
    return rf_spectrum_write(path, t->spectra.result, t->spectra.count, attributes, count + 1);
}

rf_status training_spectrum(training *t)
{
    rf_session *s = &t->session;
    if (every(t) == 0 || t->trainer.step % every(t) != 0) return RF_OK;
    rf_decoder_prepare(s->decoder);
    RF_TRY(spectrum_compute(&t->spectra, s, rf_session_distribute_above(s)));
    return rf_agree(t->env->world, write_file(t));
}
