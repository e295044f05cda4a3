/* ScaLAPACK and BLACS have no C header: the entries used, as the libraries have them. */
#ifndef RF_LINALG_SCALAPACK_ABI_H
#define RF_LINALG_SCALAPACK_ABI_H

#include <mpi.h>
#include <stddef.h>

enum { DESCRIPTOR = 9 }; /* integers of an array descriptor */

int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int rows, int cols);
void Cblacs_gridmap(int *context, int *ranks, int leading, int rows, int cols);
void Cblacs_gridinfo(int context, int *rows, int *cols, int *row, int *col);
void Cblacs_gridexit(int context);

int numroc_(const int *n, const int *block, const int *process, const int *first,
            const int *processes);
void descinit_(int *descriptor, const int *m, const int *n, const int *row_block,
               const int *col_block, const int *first_row, const int *first_col, const int *context,
               const int *leading, int *info);
void pdgesvd_(const char *want_u, const char *want_vt, const int *m, const int *n, double *a,
              const int *ia, const int *ja, const int *desc_a, double *s, double *u, const int *iu,
              const int *ju, const int *desc_u, double *vt, const int *ivt, const int *jvt,
              const int *desc_vt, double *work, const int *size, int *info, size_t length_want_u,
              size_t length_want_vt);
void Cpdgemr2d(int m, int n, const double *a, int ia, int ja, const int *desc_a, double *b, int ib,
               int jb, const int *desc_b, int context);

#endif
