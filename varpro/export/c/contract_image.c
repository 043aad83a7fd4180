
/* out[j] = sum_l image[j n + l] v[l] */
static void contract_image(const pixel *image, const weight *v, int count, int n, float *out)
{
    int j, l;
    for (j = 0; j < count; ++j) {
        sum total = 0;
        for (l = 0; l < n; ++l) total += image[j * n + l] * v[l];
        out[j] = (float)total;
    }
}
