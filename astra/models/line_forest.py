"""LineForest: strengths of emission and absorption lines in BOSS spectra."""

from __future__ import annotations

from astra.fields import FloatArrayField, add_floats, words
from astra.models.pipeline import PipelineOutputMixin

#: Balmer and Paschen lines by their upper level, other lines by ion and wavelength (Angstrom)
LINES = words(
    """
    h_alpha h_beta h_gamma h_delta h_epsilon h_8 h_9 h_10 h_11 h_12 h_13 h_14 h_15 h_16 h_17
    pa_7 pa_8 pa_9 pa_10 pa_11 pa_12 pa_13 pa_14 pa_15 pa_16 pa_17 ca_ii_8662 ca_ii_8542
    ca_ii_8498 ca_k_3933 ca_h_3968 he_i_6678 he_i_5875 he_i_5015 he_i_4471 he_ii_4685
    n_ii_6583 n_ii_6548 s_ii_6716 s_ii_6730 fe_ii_5018 fe_ii_5169 fe_ii_5197 fe_ii_6432
    o_i_5577 o_i_6300 o_i_6363 o_ii_3727 o_iii_4959 o_iii_5006 o_iii_4363 li_i
    """
)


class LineForest(PipelineOutputMixin):
    """Strength of each of `LINES`, and how surely the line is there.

    For a line such as ``h_alpha``, the columns ``eqw_h_alpha``, ``abs_h_alpha``,
    ``detection_stat_h_alpha`` and ``detection_raw_h_alpha``, and with three numbers each
    ``eqw_percentiles_h_alpha`` and ``abs_percentiles_h_alpha``.
    """

    for _line in LINES:
        add_floats(
            locals(),
            (f"eqw_{_line}", f"abs_{_line}", f"detection_stat_{_line}", f"detection_raw_{_line}"),
        )
        locals()[f"eqw_percentiles_{_line}"] = FloatArrayField(null=True)
        locals()[f"abs_percentiles_{_line}"] = FloatArrayField(null=True)
    del _line
