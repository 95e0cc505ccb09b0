"""The whole of peeltap on recordings of real programs, compared with the truth and with tshark."""
