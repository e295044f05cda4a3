/* The batch script of a plan: stands alone, does what those of jobs/ do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plan_parts.h"
#include "refract/base/file.h"

/* 'text' for the shell, whatever is in it. */
static void put_quoted(FILE *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./=,:+@%";
    if (*text && strspn(text, plain) == strlen(text)) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text; text++) fputs(*text == '\'' ? "'\\''" : (char[]){*text, '\0'}, out);
    fputc('\'', out);
}

static void put_header(FILE *out, const training *t, const plan_layout *layout, double ask)
{
    char clock[32];
    const double per_cpu = ceil(1.15 * layout->total / 1048576.0 / t->env->threads);
    fprintf(out,
            "#!/usr/bin/env bash\n"
            "# Made by refract plan; the same script starts and continues the run.\n"
            "#SBATCH --job-name=refract\n"
            "#SBATCH --ntasks=%d\n"
            "#SBATCH --cpus-per-task=%d\n"
            "#SBATCH --mem-per-cpu=%.0fM\n"
            "#SBATCH --time=%s\n"
            "#SBATCH --signal=USR1@%d\n"
            "#SBATCH --requeue\n"
            "#SBATCH --open-mode=append\n"
            "#SBATCH --output=%%x-%%j.out\n",
            layout->ranks, t->env->threads, per_cpu, plan_clock(clock, ask), ask > 600 ? 120 : 30);
}

static void put_arguments(FILE *out, const rf_plan_options *options, const plan_layout *layout)
{
    for (int i = 0; i < options->words; i++) {
        put_quoted(out, options->argument[i]);
        fputc(' ', out);
    }
    fprintf(out, "parallel.tensor=%d", layout->tensor);
}

static void put_body(FILE *out, const training *t, const rf_plan_options *options,
                     const plan_layout *layout)
{
    fputs("export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK\n"
          "refract=${REFRACT:-build/refract} child='' signalled=''\n"
          "trap 'signalled=yes; [ -z \"$child\" ] || kill -USR1 \"$child\" 2>/dev/null' TERM INT "
          "USR1 USR2\n"
          "srun --mpi=pmix --wait=30 \"$refract\" train ",
          out);
    put_arguments(out, options, layout);
    fputs(" &\n"
          "child=$!\n"
          "while :; do # a signal interrupts wait\n"
          "    wait \"$child\"; code=$?\n"
          "    [ -n \"$signalled\" ] || break\n"
          "    signalled=''\n"
          "done\n"
          "# 75: stopped, all state saved. A job that is being ended is not RUNNING, and stays "
          "ended.\n"
          "if [ \"$code\" = 75 ] && [ ! -e ",
          out);
    put_quoted(out,
               rf_config_string(t->config, "output") ? rf_config_string(t->config, "output") : ".");
    fputs("/STOP ] && [ \"$(squeue -h -j \"$SLURM_JOB_ID\" -o %T)\" = RUNNING ]; then\n"
          "    scontrol requeue \"$SLURM_JOB_ID\"\n"
          "    sleep 60 # SLURM ends this script\n"
          "fi\n"
          "exit \"$code\"\n",
          out);
}

rf_status plan_script(const training *t, const rf_plan_options *options, const plan_layout *layout,
                      double ask)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return rf_fail(RF_RESOURCES, "no memory for the batch script");
    put_header(out, t, layout, ask);
    put_body(out, t, options, layout);
    rf_status status =
        fclose(out) == 0 && text ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the batch script");
    if (status == RF_OK && options->script) {
        status = rf_file_write(options->script, text, length);
        if (status == RF_OK) rf_log_info(t->log, "script: sbatch %s", options->script);
    } else if (status == RF_OK) {
        printf("\n%s", text);
    }
    free(text);
    return status;
}
