"""SnowWhite: classes and parameters of white dwarfs."""

from __future__ import annotations

from astra.fields import BitField, FloatField, PixelArray, TextField, add_floats, words
from astra.models.pipeline import PixelOutputMixin

#: Classes of white dwarfs; ``ms`` is a companion on the main sequence
CLASSES = words(
    """
    cv da dab dabz dah dahe dao daz da_ms db dba dbaz dbh dbz db_ms dc dc_ms do dq dqz dqpec dz
    dza dzb dzba mwd hotdq
    """
)


class SnowWhite(PixelOutputMixin):
    """Class of a white dwarf, and if it is of type DA, its temperature and gravity.

    For each of `CLASSES`, such as ``da``, a probability ``p_da``.
    """

    classification = TextField(null=True)
    add_floats(locals(), [f"p_{_class}" for _class in CLASSES])

    teff = FloatField(null=True)
    e_teff = FloatField(null=True)
    logg = FloatField(null=True)
    e_logg = FloatField(null=True)
    v_rel = FloatField(null=True)
    raw_e_teff = FloatField(null=True)
    raw_e_logg = FloatField(null=True)

    result_flags = BitField()
    flag_low_snr = result_flags.flag(2**0, "The signal-to-noise ratio is low")
    flag_unconverged = result_flags.flag(2**1, "The fit did not converge")
    flag_teff_grid_edge_bad = result_flags.flag(2**2, "teff is at the edge of the grid")
    flag_logg_grid_edge_bad = result_flags.flag(2**3, "logg is at the edge of the grid")
    flag_no_flux = result_flags.flag(2**4, "The spectrum has no flux")

    wavelength = PixelArray()
    model_flux = PixelArray()
