/// The BLAS and LAPACK that SciPy brings, as function pointers: no second library, and threadpoolctl controls it.
#pragma once

namespace varpro::blas {

using Gemm = void(char*, char*, int*, int*, int*, double*, double*, int*, double*, int*, double*, double*, int*);
using Syrk = void(char*, char*, int*, int*, double*, double*, int*, double*, double*, int*);
using SyrkFloat = void(char*, char*, int*, int*, float*, float*, int*, float*, float*, int*);
using Trsm = void(char*, char*, char*, char*, int*, int*, double*, double*, int*, double*, int*);
using Potrf = void(char*, int*, double*, int*, int*);
using PotrfFloat = void(char*, int*, float*, int*, int*);
using PotrsFloat = void(char*, int*, int*, float*, int*, float*, int*, int*);
using Symv = void(char*, int*, double*, double*, int*, double*, int*, double*, double*, int*);
using Potrs = void(char*, int*, int*, double*, int*, double*, int*, int*);
using Trtri = void(char*, char*, int*, double*, int*, int*);

struct Table {
    Gemm* dgemm = nullptr;
    Syrk* dsyrk = nullptr;
    SyrkFloat* ssyrk = nullptr;
    Trsm* dtrsm = nullptr;
    Potrf* dpotrf = nullptr;
    Potrs* dpotrs = nullptr;
    Trtri* dtrtri = nullptr;
    Symv* dsymv = nullptr;
    PotrfFloat* spotrf = nullptr;
    PotrsFloat* spotrs = nullptr;
};

/// Filled when the module is imported.
extern Table table;

inline void syrk(char triangle, int n, int k, double alpha, const double* a, double beta, double* c) {
    char plain = 'N';
    table.dsyrk(&triangle, &plain, &n, &k, &alpha, const_cast<double*>(a), &n, &beta, c, &n);
}

inline void gemm(char ta, char tb, int m, int n, int k, double alpha, const double* a, int lda, const double* b,
                 int ldb, double beta, double* c, int ldc) {
    table.dgemm(&ta, &tb, &m, &n, &k, &alpha, const_cast<double*>(a), &lda, const_cast<double*>(b), &ldb, &beta, c,
                &ldc);
}

}  // namespace varpro::blas
