
void @NAME@_probabilities(const pixel *image, float *probabilities)
{
    float scores[CLASSES], largest, sum_of_all = 0.0f;
    int j, k;
    @NAME@_scores(image, scores);
    for (k = 0; k < CLASSES; ++k) {
        probabilities[k] = calibration[CLASSES * CLASSES + k];
        for (j = 0; j < CLASSES; ++j) probabilities[k] += scores[j] * calibration[j * CLASSES + k];
    }
    largest = probabilities[0];
    for (k = 1; k < CLASSES; ++k) if (probabilities[k] > largest) largest = probabilities[k];
    for (k = 0; k < CLASSES; ++k) {
        probabilities[k] = expf(probabilities[k] - largest);
        sum_of_all += probabilities[k];
    }
    for (k = 0; k < CLASSES; ++k) probabilities[k] /= sum_of_all;
}
